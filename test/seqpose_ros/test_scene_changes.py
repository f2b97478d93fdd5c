# SPDX-License-Identifier: Apache-2.0
"""Which collision objects are added, moved and removed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from ros_rig import mug
from scipy.spatial.transform import Rotation

from seqpose_core import ObjectPose, PoseEstimator
from seqpose_ros.bags.bag import Bag
from seqpose_ros.bags.estimate import predict_bag
from seqpose_ros.demo import BUNDLED_BAG
from seqpose_ros.planning_scene.changes import ChangeLimits, Operation, SceneChanges

LIMITS = ChangeLimits(time_to_live=2.0, position_deadband=0.01, rotation_deadband=0.1, size_deadband=0.1)


def step(scene: SceneChanges, objects: list[ObjectPose], now: float, frame: str = "world") -> list[tuple[str, str]]:
    """Observe one image; returns the operations and names of the changes."""
    scene.observe(objects, frame, now)
    return [(change.operation.value, change.name) for change in scene.collect(now)]


def can(track_id: int) -> ObjectPose:
    return ObjectPose(
        "can", 0.9, np.eye(3), np.array([0.0, 0.0, 1.0]), np.array([0.07, 0.12, 0.07]), np.eye(6), track_id
    )


def moved(item: ObjectPose, x: float) -> ObjectPose:
    return replace(item, translation=item.translation + [x, 0.0, 0.0])


def rotated(item: ObjectPose, axis: str, angle: float) -> ObjectPose:
    return replace(item, rotation=item.rotation @ Rotation.from_euler(axis, angle).as_matrix())


def test_a_track_is_added_once_and_an_unconfirmed_object_never() -> None:
    scene = SceneChanges(LIMITS)
    assert step(scene, [mug(7), mug(None)], 0.0) == [("add", "mug_7")]
    assert step(scene, [mug(7), mug(None)], 0.1) == []
    assert scene.names == ["mug_7"]


def test_displacements_within_the_deadband_are_not_sent_even_if_they_add_up() -> None:
    scene = SceneChanges(LIMITS)
    step(scene, [mug(7)], 0.0)
    assert step(scene, [moved(mug(7), 0.009)], 0.1) == []
    assert step(scene, [moved(mug(7), -0.009)], 0.2) == []  # 18 mm from the last detection, 9 mm from the scene
    assert step(scene, [moved(mug(7), 0.011)], 0.3) == [("move", "mug_7")]
    assert step(scene, [moved(mug(7), 0.002)], 0.4) == []  # 9 mm from the new position
    assert step(scene, [mug(7)], 0.5) == [("move", "mug_7")]  # 11 mm


def test_a_rotation_beyond_the_deadband_moves_and_the_yaw_of_a_symmetric_object_does_not() -> None:
    scene = SceneChanges(LIMITS)
    step(scene, [mug(7), can(8)], 0.0)
    assert step(scene, [rotated(mug(7), "y", 0.09), rotated(can(8), "y", 2.0)], 0.1) == []
    assert step(scene, [rotated(mug(7), "y", 0.11), rotated(can(8), "x", 0.11)], 0.2) == [
        ("move", "mug_7"),
        ("move", "can_8"),
    ]


def test_another_frame_moves_every_object() -> None:
    scene = SceneChanges(LIMITS)
    step(scene, [mug(7)], 0.0)
    assert step(scene, [mug(7)], 0.1, frame="base") == [("move", "mug_7")]
    assert step(scene, [mug(7)], 0.2, frame="base") == []


def test_a_changed_size_replaces_the_shapes() -> None:
    scene = SceneChanges(LIMITS)
    step(scene, [mug(7)], 0.0)
    assert step(scene, [replace(mug(7), size=mug(7).size * 1.09)], 0.1) == []
    assert step(scene, [replace(mug(7), size=mug(7).size * [1, 1, 1.11])], 0.2) == [("add", "mug_7")]


def test_an_object_is_removed_a_time_to_live_after_its_last_detection() -> None:
    scene = SceneChanges(LIMITS)
    step(scene, [mug(7), can(8)], 0.0)
    step(scene, [mug(7)], 1.0)
    assert step(scene, [], 2.0) == []
    assert step(scene, [], 2.1) == [("remove", "can_8")]
    assert step(scene, [], 3.0) == []
    assert step(scene, [], 3.1) == [("remove", "mug_7")]
    assert step(scene, [], 9.0) == []


def test_an_object_that_is_missed_for_less_than_the_time_to_live_stays() -> None:
    scene = SceneChanges(LIMITS)
    changes = []
    for frame in range(100):  # 10 Hz, detected in every 15th frame: gaps of 1.5 s
        changes += step(scene, [mug(7)] if frame % 15 == 0 else [], frame / 10)
    assert changes == [("add", "mug_7")]


def test_all_changes_of_one_image_are_in_one_diff_removals_first() -> None:
    scene = SceneChanges(LIMITS)
    step(scene, [mug(1), mug(2)], 0.0)
    step(scene, [mug(2)], 1.5)
    assert step(scene, [moved(mug(2), 0.1), mug(3)], 2.5) == [("remove", "mug_1"), ("add", "mug_3"), ("move", "mug_2")]


def test_a_frozen_scene_does_not_change_and_its_objects_live_a_full_time_to_live_after_it() -> None:
    scene = SceneChanges(LIMITS)
    step(scene, [mug(7)], 0.0)
    scene.freeze(True, 1.0)
    assert step(scene, [moved(mug(7), 0.5), can(8)], 1.1) == []
    assert step(scene, [], 60.0) == []
    scene.freeze(False, 60.0)
    assert step(scene, [], 62.0) == []
    assert step(scene, [], 62.1) == [("remove", "mug_7")]


def test_a_new_subscriber_gets_every_object_again() -> None:
    scene = SceneChanges(LIMITS)
    step(scene, [mug(7), can(8)], 0.0)
    scene.resend()
    assert step(scene, [mug(7)], 0.1) == [("add", "mug_7"), ("add", "can_8")]


def test_an_object_that_is_gone_before_it_is_sent_again_is_removed() -> None:
    """A scene with refresh: manual. The release from ~/freeze and a second subscriber to planning_scene both resend."""
    scene = SceneChanges(LIMITS)
    step(scene, [mug(7)], 0.0)
    scene.resend()
    assert scene.names == ["mug_7"]  # move_group has it
    assert step(scene, [], 10.0) == [("remove", "mug_7")]


def test_objects_that_were_never_sent_are_dropped_after_their_time_to_live() -> None:
    scene = SceneChanges(LIMITS)
    step(scene, [mug(7)], 0.0)
    for track_id in range(8, 1000):  # tracks of 0.1 s each, between two calls of collect
        scene.observe([mug(track_id)], "world", 0.1 * track_id)
        scene.drop_unsent(0.1 * track_id)
    assert len(scene._entries) <= 1 + 21  # mug_7, and those of the last 2 s
    assert [(c.operation, c.name) for c in scene.collect(0.1 * 999 + 60.0)] == [(Operation.REMOVE, "mug_7")]


def test_a_frozen_scene_drops_no_object() -> None:
    scene = SceneChanges(LIMITS)
    scene.observe([mug(7)], "world", 0.0)
    scene.freeze(True, 1.0)
    scene.drop_unsent(60.0)
    scene.freeze(False, 60.0)
    assert step(scene, [], 61.0) == [("add", "mug_7")]


def test_clearing_removes_objects_that_were_to_be_sent_again() -> None:
    scene = SceneChanges(LIMITS)
    step(scene, [mug(7)], 0.0)
    scene.resend()
    assert [(c.operation, c.name) for c in scene.clear()] == [(Operation.REMOVE, "mug_7")]


def test_a_clock_that_is_set_back_restarts_the_time_to_live() -> None:
    scene = SceneChanges(LIMITS)
    step(scene, [mug(7)], 1000.0)
    assert step(scene, [], 0.0) == []
    assert step(scene, [], 2.1) == [("remove", "mug_7")]


def test_clearing_removes_all_objects_also_while_frozen() -> None:
    scene = SceneChanges(LIMITS)
    step(scene, [mug(7), can(8)], 0.0)
    scene.freeze(True, 0.1)
    assert [(c.operation, c.name) for c in scene.clear()] == [(Operation.REMOVE, "mug_7"), (Operation.REMOVE, "can_8")]
    assert scene.clear() == []


@pytest.mark.slow
def test_collision_objects_of_the_demo_bag_neither_flicker_nor_linger() -> None:
    with Bag(BUNDLED_BAG) as bag:
        run = predict_bag(PoseEstimator.from_pretrained("seqpose-lite2"), bag)
    scene, events = SceneChanges(), []  # the default limits
    for frame in run.frames:
        now = frame.stamp * 1e-9
        events += [(now, name, operation) for operation, name in step(scene, run.objects[frame.index], now)]
    after = [now + 0.1 * k for k in range(1, 22)]  # no further image
    for now in after:
        events += [(now, name, operation) for operation, name in step(scene, [], now)]
    assert scene.names == []  # 2.1 s later
    last: dict[str, tuple[float, str]] = {}
    for now, name, operation in events:
        if operation != "move":
            before = last.get(name)
            assert before is None or before[1] == operation or now - before[0] > 1.0, (name, before, now)
            last[name] = now, operation
    assert len(last) >= 6  # there are six objects on the table
    assert {operation for _, operation in last.values()} == {"remove"}
