# SPDX-License-Identifier: Apache-2.0
"""Identities across frames."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from seqpose_core.categories import CATEGORY_NAMES
from seqpose_core.geometry import invert, make_transform, rotation_error, transform, turn_about_y
from seqpose_core.objects import ObjectPose
from seqpose_core.tracking import Tracker


def seen(
    category: str = "laptop",
    at: tuple[float, float, float] = (0.0, 0.0, 1.0),
    rotation: np.ndarray | None = None,
    score: float = 0.9,
    size: tuple[float, float, float] = (0.1, 0.1, 0.1),
) -> ObjectPose:
    rotation = np.eye(3) if rotation is None else rotation
    return ObjectPose(category, score, rotation, np.array(at), np.array(size), np.eye(6) * 1e-4)


def camera_at(x: float, yaw: float = 0.0) -> np.ndarray:
    """world_from_camera of a camera that moved sideways and turned about its vertical axis."""
    return make_transform(turn_about_y(yaw), [x, 0.0, 0.0])


def in_camera(world: ObjectPose, pose: np.ndarray) -> ObjectPose:
    """An object given in the world as that camera sees it."""
    matrix = invert(pose) @ world.transform
    return seen(world.category, tuple(matrix[:3, 3]), matrix[:3, :3], world.score, tuple(world.size))


# -- ids ---------------------------------------------------------------------------------------------------


def test_an_id_comes_with_the_nth_consecutive_sight_and_stays() -> None:
    tracker = Tracker(min_hits=3, max_age=2)
    results = [tracker.update([seen()])[0] for _ in range(5)]
    assert [r.track_id for r in results] == [None, None, 1, 1, 1]
    assert [r.age for r in results] == [0, 1, 2, 3, 4]


def test_a_candidate_missed_once_begins_anew() -> None:
    tracker = Tracker(min_hits=2, max_age=5)
    ids = [[o.track_id for o in tracker.update(frame)] for frame in ([seen()], [], [seen()], [seen()])]
    assert ids == [[None], [], [None], [1]]


@pytest.mark.parametrize(("gap", "same"), [(1, True), (3, True), (4, False)])
def test_an_id_survives_max_age_frames_unseen_and_no_more(gap: int, same: bool) -> None:
    tracker = Tracker(min_hits=1, max_age=3)
    first = tracker.update([seen()])[0]
    for _ in range(gap):
        assert tracker.update([]) == []
    again = tracker.update([seen()])[0]
    assert (again.track_id == first.track_id) is same
    assert again.age == (gap + 1 if same else 0)


def test_ids_are_never_used_twice_even_after_a_reset() -> None:
    tracker = Tracker(min_hits=1, max_age=0)
    assert tracker.update([seen()])[0].track_id == 1
    tracker.update([])
    assert tracker.update([seen()])[0].track_id == 2
    tracker.reset()
    assert tracker.update([seen()])[0].track_id == 3


def test_categories_do_not_mix_and_far_is_another_object() -> None:
    tracker = Tracker(min_hits=1, gate=1.0)  # boxes of 0.1 m have diagonals of 0.173 m
    tracker.update([seen("laptop")])
    assert tracker.update([seen("camera")])[0].track_id == 2
    assert tracker.update([seen("laptop", (0.17, 0, 1))])[0].track_id == 1
    assert tracker.update([seen("laptop", (0.37, 0, 1))])[0].track_id == 3


@pytest.mark.parametrize("pose", [None, camera_at(0.4, 0.7)], ids=["camera frame", "world"])
def test_an_object_that_jumps_in_depth_keeps_its_id_and_one_beside_it_has_its_own(pose: np.ndarray | None) -> None:
    """30 cm along the line of sight is what a frame may err; 30 cm across it is another object."""
    for place, same in (((0.26, 0.0, 1.3), True), ((0.5, 0.0, 1.0), False)):
        tracker = Tracker(min_hits=1)
        (first,) = tracker.update([seen("can", (0.2, 0.0, 1.0))], None, pose)
        (again,) = tracker.update([seen("can", place)], None, pose)
        assert (first.track_id == again.track_id) is same


def test_two_alike_close_together_keep_their_ids() -> None:
    """Each is nearer to the other's last place than the gate, and greed by score would swap them."""
    tracker = Tracker(min_hits=1)
    left, right = tracker.update([seen("can", (0.0, 0, 1), score=0.9), seen("can", (0.08, 0, 1), score=0.8)])
    moved = tracker.update([seen("can", (0.05, 0, 1), score=0.9), seen("can", (0.13, 0, 1), score=0.95)])
    by_place = {round(float(o.translation[0]), 2): o.track_id for o in moved}
    assert by_place == {0.05: left.track_id, 0.13: right.track_id}


def test_the_world_holds_what_the_camera_frame_loses() -> None:
    """The camera jumps half a metre: with its pose the object is known again, without it is another one."""
    object_in_world = seen("mug", (0.1, 0.0, 1.2))
    for known in (True, False):
        tracker = Tracker(min_hits=1)
        ids = []
        for pose in (camera_at(0.0), camera_at(0.5)):
            ids.append(tracker.update([in_camera(object_in_world, pose)], None, pose if known else None)[0].track_id)
        assert (ids[0] == ids[1]) is known


def test_tracks_survive_the_loss_and_return_of_the_camera_pose() -> None:
    tracker = Tracker(min_hits=1)
    item = seen("mug", (0.1, 0.0, 1.2))
    pose = camera_at(3.0, 1.0)
    ids = [tracker.update([item], None, p)[0].track_id for p in (pose, None, None, pose, camera_at(3.02, 1.0))]
    assert ids == [1] * 5


def test_state_stays_bounded() -> None:
    tracker = Tracker(min_hits=1, max_age=4)
    for frame in range(50):
        tracker.update([seen(at=(10.0 * frame + i, 0, 1)) for i in range(3)])
        assert len(tracker._tracks) <= 3 * 5


# -- poses -------------------------------------------------------------------------------------------------


def test_without_smoothing_the_reading_is_published_as_it_is() -> None:
    tracker = Tracker()
    for step in range(4):
        item = seen("camera", (0.01 * step, 0.02, 1), Rotation.from_euler("xyz", [0.1, 0.2 * step, 0.3]).as_matrix())
        (out,) = tracker.update([item], float(step), camera_at(0.1 * step, 0.1))
        assert np.allclose(out.rotation, item.rotation) and np.allclose(out.translation, item.translation)
        assert np.array_equal(out.size, item.size) and np.array_equal(out.covariance, item.covariance)


def test_a_symmetric_object_first_turns_its_x_axis_to_the_camera() -> None:
    tilted = Rotation.from_euler("xyz", [2.0, 0.4, 0.3]).as_matrix()
    (out,) = Tracker().update([seen("bottle", (0.2, 0.1, 0.9), tilted)])
    towards_camera = out.rotation.T @ -out.translation
    assert towards_camera[2] == pytest.approx(0, abs=1e-12) and towards_camera[0] > 0
    assert np.allclose(out.rotation[:, 1], tilted[:, 1])


@given(turns=st.lists(st.floats(-3.1, 3.1), min_size=2, max_size=6))
@settings(max_examples=30, deadline=None)
def test_a_symmetric_object_does_not_spin_whatever_turn_the_network_picks(turns: list[float]) -> None:
    """Nor when the camera walks around it: its x axis stays where it was in the world."""
    tracker = Tracker(min_hits=1)
    upright = Rotation.from_euler("x", 180, degrees=True).as_matrix()
    in_world = []
    for index, turn in enumerate(turns):
        pose = camera_at(0.1 * index, -0.1 * index)
        can = seen("can", (0.0, 0.1, 1.0), upright @ turn_about_y(turn))
        (out,) = tracker.update([in_camera(can, pose)], float(index), pose)
        in_world.append(pose[:3, :3] @ out.rotation)
    assert np.allclose(in_world, in_world[0], atol=1e-9)


def test_a_laptop_is_not_turned() -> None:
    tracker = Tracker()
    tracker.update([seen("laptop")])
    (out,) = tracker.update([seen("laptop", rotation=turn_about_y(1.0))])
    assert np.allclose(out.rotation, turn_about_y(1.0))


def test_smoothing_averages_in_the_world() -> None:
    """The mean of n independent readings has 1/sqrt(n) of their spread, though the camera moves."""
    random = np.random.default_rng(0)
    tracker = Tracker(min_hits=1, smoothing=0.99)
    truth = seen("laptop", (0.1, 0.0, 1.0), turn_about_y(0.5), size=(0.2, 0.2, 0.3))
    for frame in range(64):
        pose = camera_at(0.01 * frame, 0.005 * frame)
        noisy = make_transform(Rotation.from_rotvec(random.normal(0, 0.1, 3)).as_matrix(), random.normal(0, 0.02, 3))
        matrix = invert(pose) @ truth.transform @ noisy
        size = tuple(truth.size + random.normal(0, 0.02, 3))
        (out,) = tracker.update([seen("laptop", tuple(matrix[:3, 3]), matrix[:3, :3], size=size)], None, pose)
    world = pose @ out.transform
    assert np.linalg.norm(world[:3, 3] - truth.translation) < 0.02 * np.sqrt(3) / 8 * 2
    assert rotation_error(world[:3, :3], truth.rotation) < 0.1 * np.sqrt(3) / 8 * 2
    assert np.linalg.norm(out.size - truth.size) < 0.02 * np.sqrt(3) / 8 * 2


def test_smoothing_does_not_drag_behind_an_unknown_motion() -> None:
    tracker = Tracker(min_hits=1, smoothing=0.9)
    for step in range(5):
        (out,) = tracker.update([seen(at=(0.05 * step, 0, 1), size=(0.1 + 0.01 * step, 0.1, 0.1))])
        assert out.translation[0] == pytest.approx(0.05 * step)
    assert out.size[0] == pytest.approx(np.mean([0.10, 0.11, 0.12, 0.13, 0.14]))


def test_smoothing_does_not_mix_opposite_readings() -> None:
    tracker = Tracker(min_hits=1, smoothing=0.9)
    for angle in (0.0, np.pi - 0.1):
        (out,) = tracker.update([seen(rotation=turn_about_y(angle))], None, np.eye(4))
    assert np.allclose(out.rotation, turn_about_y(np.pi - 0.1))


def test_smoothing_follows_an_object_that_is_carried_away() -> None:
    """It moves on by 6 cm a frame: the average lags behind, the id stays, and a jump begins a new average."""
    tracker = Tracker(min_hits=1, smoothing=0.95)
    for step in range(20):
        (out,) = tracker.update([seen(at=(0.06 * step, 0, 1))], None, np.eye(4))
        assert out.track_id == 1
        assert abs(out.translation[0] - 0.06 * step) < 0.5 * np.linalg.norm([0.1] * 3)
    (out,) = tracker.update([seen(at=(0.06 * 19 + 0.15, 0, 1))], None, np.eye(4))
    assert out.track_id == 1 and out.translation[0] == pytest.approx(0.06 * 19 + 0.15)
    (out,) = tracker.update([seen(at=(0.06 * 19 + 0.17, 0, 1))], None, np.eye(4))
    assert out.translation[0] == pytest.approx(0.06 * 19 + 0.16)


# -- laws --------------------------------------------------------------------------------------------------

detection = st.builds(
    lambda name, xy, score, turn: seen(name, (*xy, 1.0), turn_about_y(turn), score),
    st.sampled_from(CATEGORY_NAMES),
    st.tuples(st.floats(-0.4, 0.4), st.floats(-0.3, 0.3)),
    st.floats(0.1, 1.0),
    st.floats(-3, 3),
)


def published(objects: list[ObjectPose]) -> list[tuple[object, ...]]:
    return [
        (o.category, o.score, o.track_id, o.age, o.translation.tolist(), o.rotation.tolist(), o.size.tolist())
        for o in objects
    ]


@given(frames=st.lists(st.lists(detection, max_size=5), min_size=1, max_size=5), seed=st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_the_order_of_detections_changes_nothing(frames: list[list[ObjectPose]], seed: int) -> None:
    first, second = Tracker(min_hits=2, smoothing=0.5), Tracker(min_hits=2, smoothing=0.5)
    random = np.random.default_rng(seed)
    for index, frame in enumerate(frames):
        shuffled = [frame[i] for i in random.permutation(len(frame))]
        pose = camera_at(0.01 * index)
        assert published(first.update(frame, None, pose)) == published(second.update(shuffled, None, pose))


@given(frames=st.lists(st.lists(detection, max_size=5), min_size=1, max_size=6))
@settings(max_examples=60, deadline=None)
def test_every_detection_comes_back_once_and_ids_differ_within_a_frame(
    frames: list[list[ObjectPose]],
) -> None:
    tracker = Tracker(min_hits=1, max_age=2)
    for frame in frames:
        out = tracker.update(frame)
        assert sorted((o.category, o.score) for o in out) == sorted((o.category, o.score) for o in frame)
        assert len({o.track_id for o in out}) == len(out)


@given(
    shift=st.tuples(st.floats(-5, 5), st.floats(-5, 5), st.floats(-5, 5)),
    turn=st.floats(-3, 3),
    frames=st.lists(st.lists(detection, max_size=4), min_size=1, max_size=4),
)
@settings(max_examples=40, deadline=None)
def test_the_choice_of_world_frame_changes_nothing(
    shift: tuple[float, float, float], turn: float, frames: list[list[ObjectPose]]
) -> None:
    other_world = make_transform(Rotation.from_rotvec([0.3, turn, 0.1]).as_matrix(), shift)
    first, second = Tracker(min_hits=1, smoothing=0.5), Tracker(min_hits=1, smoothing=0.5)
    for index, frame in enumerate(frames):
        pose = camera_at(0.03 * index, 0.02 * index)
        for a, b in zip(first.update(frame, None, pose), second.update(frame, None, other_world @ pose), strict=True):
            assert a.track_id == b.track_id
            assert np.allclose(a.translation, b.translation, atol=1e-6)
            assert np.allclose(a.rotation, b.rotation, atol=1e-5)


# -- refusals ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("setting", [{"min_hits": 0}, {"max_age": -1}, {"gate": 0.0}, {"smoothing": 1.0}])
def test_impossible_settings_are_refused_by_name(setting: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(setting))):
        Tracker(**setting)  # type: ignore[arg-type]


def test_a_falling_stamp_and_a_broken_camera_pose_are_refused() -> None:
    tracker = Tracker()
    tracker.update([], 5.0)
    with pytest.raises(ValueError, match=r"stamp 4\.0 lies before the last one, 5\.0"):
        tracker.update([], 4.0)
    tracker.reset()
    tracker.update([], 4.0)
    with pytest.raises(ValueError, match="camera_pose"):
        tracker.update([], 4.0, np.full((4, 4), np.nan))


def test_the_tracker_does_not_touch_its_inputs() -> None:
    item, pose = seen("can", (0.1, 0, 1), turn_about_y(0.7)), camera_at(0.2)
    before = (item.rotation.copy(), item.translation.copy(), item.size.copy(), pose.copy())
    tracker = Tracker(smoothing=0.5)
    for shift in (0.0, 0.01):
        tracker.update([item], None, transform_pose(pose, shift))
    for array, copy in zip((item.rotation, item.translation, item.size, pose), before, strict=True):
        assert np.array_equal(array, copy)


def transform_pose(pose: np.ndarray, shift: float) -> np.ndarray:
    out = pose.copy()
    out[:3, 3] = transform(pose, [shift, 0, 0])
    return out
