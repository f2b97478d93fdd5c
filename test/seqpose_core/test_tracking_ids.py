# SPDX-License-Identifier: Apache-2.0
"""Track ids: when they are assigned, kept and dropped."""

from __future__ import annotations

import numpy as np
import pytest
from tracking_rig import camera_at, detection, in_camera

from seqpose_core.tracking import Tracker


def test_an_id_is_assigned_at_the_nth_consecutive_detection() -> None:
    tracker = Tracker(min_hits=3, max_age=2)
    results = [tracker.update([detection()])[0] for _ in range(5)]
    assert [r.track_id for r in results] == [None, None, 1, 1, 1]
    assert [r.age for r in results] == [0, 1, 2, 3, 4]


def test_a_candidate_missed_once_is_dropped() -> None:
    tracker = Tracker(min_hits=2, max_age=5)
    ids = [[o.track_id for o in tracker.update(frame)] for frame in ([detection()], [], [detection()], [detection()])]
    assert ids == [[None], [], [None], [1]]


@pytest.mark.parametrize(("gap", "same"), [(1, True), (3, True), (4, False)])
def test_a_track_is_kept_for_exactly_max_age_frames_without_a_detection(gap: int, same: bool) -> None:
    tracker = Tracker(min_hits=1, max_age=3)
    first = tracker.update([detection()])[0]
    for _ in range(gap):
        assert tracker.update([]) == []
    again = tracker.update([detection()])[0]
    assert (again.track_id == first.track_id) is same
    assert again.age == (gap + 1 if same else 0)


def test_ids_are_never_reused_even_after_a_reset() -> None:
    tracker = Tracker(min_hits=1, max_age=0)
    assert tracker.update([detection()])[0].track_id == 1
    tracker.update([])
    assert tracker.update([detection()])[0].track_id == 2
    tracker.reset()
    assert tracker.update([detection()])[0].track_id == 3


def test_another_category_and_a_distant_detection_get_new_ids() -> None:
    tracker = Tracker(min_hits=1, gate=1.0)  # boxes of 0.1 m have diagonals of 0.173 m
    tracker.update([detection("laptop")])
    assert tracker.update([detection("camera")])[0].track_id == 2
    assert tracker.update([detection("laptop", (0.17, 0, 1))])[0].track_id == 1
    assert tracker.update([detection("laptop", (0.37, 0, 1))])[0].track_id == 3


@pytest.mark.parametrize("pose", [None, camera_at(0.4, 0.7)], ids=["camera frame", "world"])
def test_a_shift_in_depth_keeps_the_id_and_the_same_shift_sideways_does_not(pose: np.ndarray | None) -> None:
    """30 cm along the line of sight is a typical depth error; 30 cm across it is another object."""
    for position, same in (((0.26, 0.0, 1.3), True), ((0.5, 0.0, 1.0), False)):
        tracker = Tracker(min_hits=1)
        (first,) = tracker.update([detection("can", (0.2, 0.0, 1.0))], None, pose)
        (again,) = tracker.update([detection("can", position)], None, pose)
        assert (first.track_id == again.track_id) is same


def test_two_neighbours_of_one_category_keep_their_ids() -> None:
    """Each is within the gate of the other's last position; greedy matching by score would swap them."""
    tracker = Tracker(min_hits=1)
    left, right = tracker.update([detection("can", (0.0, 0, 1), score=0.9), detection("can", (0.08, 0, 1), score=0.8)])
    moved = tracker.update([detection("can", (0.05, 0, 1), score=0.9), detection("can", (0.13, 0, 1), score=0.95)])
    by_position = {round(float(o.translation[0]), 2): o.track_id for o in moved}
    assert by_position == {0.05: left.track_id, 0.13: right.track_id}


def test_with_camera_poses_a_static_object_keeps_its_id_when_the_camera_moves() -> None:
    """The camera moves by half a metre: with its pose the object keeps its id, without it gets a new one."""
    object_in_world = detection("mug", (0.1, 0.0, 1.2))
    for known in (True, False):
        tracker = Tracker(min_hits=1)
        ids = []
        for pose in (camera_at(0.0), camera_at(0.5)):
            ids.append(tracker.update([in_camera(object_in_world, pose)], None, pose if known else None)[0].track_id)
        assert (ids[0] == ids[1]) is known


def test_tracks_survive_when_the_camera_pose_is_lost_and_returns() -> None:
    tracker = Tracker(min_hits=1)
    item = detection("mug", (0.1, 0.0, 1.2))
    pose = camera_at(3.0, 1.0)
    ids = [tracker.update([item], None, p)[0].track_id for p in (pose, None, None, pose, camera_at(3.02, 1.0))]
    assert ids == [1] * 5


def test_the_number_of_tracks_is_bounded() -> None:
    tracker = Tracker(min_hits=1, max_age=4)
    for frame in range(50):
        tracker.update([detection(at=(10.0 * frame + i, 0, 1)) for i in range(3)])
        assert len(tracker._tracks) <= 3 * 5
