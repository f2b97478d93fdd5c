# SPDX-License-Identifier: Apache-2.0
"""tf child frame names are bounded, unique in a message, and not reused while a tf buffer may have the old object."""

from __future__ import annotations

import random

from geometry_msgs.msg import TransformStamped
from ros_rig import header, mug
from tf2_ros import Buffer, ExtrapolationException

from seqpose_core import ObjectPose
from seqpose_ros.frame_names import POOL_SIZE, REUSE_AFTER, FrameNamePool

TF_CACHE_TIME = 10.0  # seconds, the default of tf2


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def mugs(*track_ids: int | None) -> list[ObjectPose]:
    return [mug(track_id) for track_id in track_ids]


def test_the_first_tracks_have_their_track_id_in_the_name_and_unconfirmed_ones_have_none() -> None:
    assert FrameNamePool().assign(mugs(7, None, 12), 0.0) == {7: "mug_7", 12: "mug_12"}


def test_a_track_keeps_its_name_and_no_name_is_used_twice_in_a_message() -> None:
    pool = FrameNamePool()
    first, second = 7, 7 + POOL_SIZE  # both prefer mug_7
    assert pool.assign(mugs(first, second), 0.0) == {first: "mug_7", second: "mug_8"}
    assert pool.assign(mugs(second), 1.0) == {second: "mug_8"}
    assert pool.assign(mugs(second, first), 2.0) == {first: "mug_7", second: "mug_8"}


def test_a_name_is_reused_only_after_the_cache_time_of_tf_buffers() -> None:
    assert REUSE_AFTER > TF_CACHE_TIME
    for gap, name in ((REUSE_AFTER - 0.1, "mug_8"), (REUSE_AFTER, "mug_7")):
        pool = FrameNamePool()
        pool.assign(mugs(7), 100.0)
        assert pool.assign(mugs(7 + POOL_SIZE), 100.0 + gap) == {7 + POOL_SIZE: name}


def test_after_a_jump_back_in_time_a_name_is_reused_after_wall_time() -> None:
    clock = Clock()
    pool = FrameNamePool(clock)
    pool.assign(mugs(7), 100.0)
    assert pool.assign(mugs(7 + POOL_SIZE), 50.0) == {7 + POOL_SIZE: "mug_8"}
    clock.now = REUSE_AFTER
    assert pool.assign(mugs(7 + 2 * POOL_SIZE), 51.0) == {7 + 2 * POOL_SIZE: "mug_7"}


def test_a_track_of_the_next_estimator_does_not_get_the_name_of_a_track_with_its_id() -> None:
    """Track ids start at 1 again after the node is cleaned up and configured."""
    pool = FrameNamePool()
    assert pool.assign(mugs(1), 100.0) == {1: "mug_1"}
    pool.forget_tracks()
    assert pool.assign(mugs(1), 101.0) == {1: "mug_2"}
    assert pool.assign(mugs(1), 102.0) == {1: "mug_2"}


def test_if_all_names_are_in_use_further_tracks_have_none() -> None:
    names = FrameNamePool().assign(mugs(*range(POOL_SIZE + 5)), 0.0)
    assert list(names) == list(range(POOL_SIZE))


def test_a_tf_buffer_never_returns_the_pose_of_another_object() -> None:
    """Tracks come and go for 20 minutes. A buffer receives every transform; poses within its cache are looked up."""
    rng = random.Random(0)
    pool, buffer = FrameNamePool(), Buffer()
    alive, next_id, names, owners = [0, 1, 2], 3, set(), {}
    for frame in range(2400):
        stamp = 0.5 * frame
        if rng.random() < 0.4:
            alive[rng.randrange(3)] = next_id
            next_id += 1
        assigned = pool.assign(mugs(*alive), stamp)
        assert len(set(assigned.values())) == len(alive)
        names |= set(assigned.values())
        for track_id, name in assigned.items():
            message = TransformStamped(header=header(stamp), child_frame_id=name)
            message.transform.translation.x = float(track_id)  # the position identifies the object
            message.transform.rotation.w = 1.0
            buffer.set_transform(message, "test")
            owners[name, stamp] = track_id
        if frame % 50 == 0:
            for name in names:
                for age in (0.0, 3.25, 6.5, 9.75):
                    try:
                        found = buffer.lookup_transform("camera", name, header(stamp - age).stamp)
                    except ExtrapolationException:
                        continue
                    below, above = 0.5 * ((stamp - age) // 0.5), 0.5 * -(-(stamp - age) // 0.5)
                    while (name, below) not in owners:
                        below -= 0.5
                    while (name, above) not in owners:
                        above += 0.5
                    assert owners[name, below] == owners[name, above] == found.transform.translation.x
    assert next_id > 900
    assert len(names) <= POOL_SIZE
