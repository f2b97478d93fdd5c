# SPDX-License-Identifier: Apache-2.0
"""Properties of the tracker for any detections, and its errors for invalid input."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation
from tracking_rig import camera_at, detection

from seqpose_core.categories import CATEGORY_NAMES
from seqpose_core.geometry import make_transform, rotation_about_y, transform
from seqpose_core.objects import ObjectPose
from seqpose_core.tracking import Tracker

detections = st.builds(
    lambda name, xy, score, yaw: detection(name, (*xy, 1.0), rotation_about_y(yaw), score),
    st.sampled_from(CATEGORY_NAMES),
    st.tuples(st.floats(-0.4, 0.4), st.floats(-0.3, 0.3)),
    st.floats(0.1, 1.0),
    st.floats(-3, 3),
)


def values(objects: list[ObjectPose]) -> list[tuple[object, ...]]:
    return [
        (o.category, o.score, o.track_id, o.age, o.translation.tolist(), o.rotation.tolist(), o.size.tolist())
        for o in objects
    ]


@given(frames=st.lists(st.lists(detections, max_size=5), min_size=1, max_size=5), seed=st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_the_result_is_independent_of_the_order_of_detections(frames: list[list[ObjectPose]], seed: int) -> None:
    first, second = Tracker(min_hits=2, smoothing=0.5), Tracker(min_hits=2, smoothing=0.5)
    random = np.random.default_rng(seed)
    for index, frame in enumerate(frames):
        shuffled = [frame[i] for i in random.permutation(len(frame))]
        pose = camera_at(0.01 * index)
        assert values(first.update(frame, None, pose)) == values(second.update(shuffled, None, pose))


@given(frames=st.lists(st.lists(detections, max_size=5), min_size=1, max_size=6))
@settings(max_examples=60, deadline=None)
def test_every_detection_is_returned_once_with_a_unique_id(
    frames: list[list[ObjectPose]],
) -> None:
    tracker = Tracker(min_hits=1, max_age=2)
    for frame in frames:
        out = tracker.update(frame)
        assert sorted((o.category, o.score) for o in out) == sorted((o.category, o.score) for o in frame)
        assert len({o.track_id for o in out}) == len(out)


@given(
    shift=st.tuples(st.floats(-5, 5), st.floats(-5, 5), st.floats(-5, 5)),
    yaw=st.floats(-3, 3),
    frames=st.lists(st.lists(detections, max_size=4), min_size=1, max_size=4),
)
@settings(max_examples=40, deadline=None)
def test_the_result_is_independent_of_the_world_frame(
    shift: tuple[float, float, float], yaw: float, frames: list[list[ObjectPose]]
) -> None:
    other_world = make_transform(Rotation.from_rotvec([0.3, yaw, 0.1]).as_matrix(), shift)
    first, second = Tracker(min_hits=1, smoothing=0.5), Tracker(min_hits=1, smoothing=0.5)
    for index, frame in enumerate(frames):
        pose = camera_at(0.03 * index, 0.02 * index)
        for a, b in zip(first.update(frame, None, pose), second.update(frame, None, other_world @ pose), strict=True):
            assert a.track_id == b.track_id
            assert np.allclose(a.translation, b.translation, atol=1e-6)
            assert np.allclose(a.rotation, b.rotation, atol=1e-5)


@pytest.mark.parametrize("setting", [{"min_hits": 0}, {"max_age": -1}, {"gate": 0.0}, {"smoothing": 1.0}])
def test_the_error_names_a_setting_outside_its_range(setting: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(setting))):
        Tracker(**setting)  # type: ignore[arg-type]


def test_a_decreasing_stamp_and_an_invalid_camera_pose_raise_an_error() -> None:
    tracker = Tracker()
    tracker.update([], 5.0)
    with pytest.raises(ValueError, match=r"stamp 4\.0 lies before the last one, 5\.0"):
        tracker.update([], 4.0)
    tracker.reset()
    tracker.update([], 4.0)
    with pytest.raises(ValueError, match="camera_pose"):
        tracker.update([], 4.0, np.full((4, 4), np.nan))


def test_inputs_are_not_modified() -> None:
    item, pose = detection("can", (0.1, 0, 1), rotation_about_y(0.7)), camera_at(0.2)
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
