# SPDX-License-Identifier: Apache-2.0
"""tf2_ros of the overlay: lookups agree with geometry, and errors agree with tf2."""

from __future__ import annotations

import random
import threading
import tracemalloc

import numpy as np
import pytest
import rclpy
from builtin_interfaces.msg import Time as TimeMessage
from geometry_msgs.msg import TransformStamped
from numpy.typing import NDArray
from rclpy.duration import Duration
from rclpy.executors import SingleThreadedExecutor
from rclpy.time import Time
from scipy.spatial.transform import Rotation, Slerp
from tf2_ros import (
    Buffer,
    ConnectivityException,
    ExtrapolationException,
    InvalidArgumentException,
    LookupException,
    StaticTransformBroadcaster,
    TransformBroadcaster,
    TransformListener,
)


def stamped(
    parent: str, child: str, seconds: float, translation: object = (0, 0, 0), rotation: Rotation | None = None
) -> TransformStamped:
    message = TransformStamped()
    message.header.frame_id, message.child_frame_id = parent, child
    message.header.stamp = Time(nanoseconds=round(seconds * 1e9)).to_msg()
    vector, quaternion = message.transform.translation, message.transform.rotation
    vector.x, vector.y, vector.z = (float(value) for value in translation)  # type: ignore[attr-defined]
    quaternion.x, quaternion.y, quaternion.z, quaternion.w = (rotation or Rotation.identity()).as_quat()
    return message


def matrix(message: TransformStamped) -> NDArray[np.float64]:
    vector, quaternion = message.transform.translation, message.transform.rotation
    result = np.eye(4)
    result[:3, :3] = Rotation.from_quat([quaternion.x, quaternion.y, quaternion.z, quaternion.w]).as_matrix()
    result[:3, 3] = vector.x, vector.y, vector.z
    return result


def at(seconds: float) -> Time:
    return Time(nanoseconds=round(seconds * 1e9))


NOW = Time()


def test_a_moving_frame_is_interpolated_as_scipys_slerp_does() -> None:
    rng = np.random.default_rng(7)
    for _ in range(20):
        first, second = Rotation.random(random_state=rng), Rotation.random(random_state=rng)
        start, end = rng.normal(size=(2, 3))
        share = rng.uniform()
        buffer = Buffer()
        buffer.set_transform(stamped("world", "camera", 1.0, start, first), "test")
        buffer.set_transform(stamped("world", "camera", 1.5, end, second), "test")
        result = matrix(buffer.lookup_transform("world", "camera", at(1.0 + 0.5 * share)))
        slerp = Slerp([0.0, 1.0], Rotation.concatenate([first, second]))
        np.testing.assert_allclose(result[:3, :3], slerp(share).as_matrix(), atol=1e-7)
        np.testing.assert_allclose(result[:3, 3], start + share * (end - start), atol=1e-7)


def test_q_and_minus_q_are_interpolated_as_the_same_rotation() -> None:
    rotation = Rotation.from_euler("z", 50, degrees=True)
    buffer = Buffer()
    buffer.set_transform(stamped("world", "camera", 1.0, rotation=rotation), "test")
    flipped = stamped("world", "camera", 2.0, rotation=rotation)
    quaternion = flipped.transform.rotation
    quaternion.x, quaternion.y, quaternion.z, quaternion.w = -rotation.as_quat()
    buffer.set_transform(flipped, "test")
    result = matrix(buffer.lookup_transform("world", "camera", at(1.3)))
    np.testing.assert_allclose(result[:3, :3], rotation.as_matrix(), atol=1e-9)


def test_a_chain_over_a_common_ancestor_is_the_product_of_its_matrices() -> None:
    rng = np.random.default_rng(3)
    buffer, edges = Buffer(), {}
    for parent, child in (("world", "base"), ("base", "camera"), ("world", "table"), ("table", "mug")):
        edge = stamped(parent, child, 1.0, rng.normal(size=3), Rotation.random(random_state=rng))
        buffer.set_transform(edge, "test")
        edges[child] = matrix(edge)
    camera, mug = edges["base"] @ edges["camera"], edges["table"] @ edges["mug"]
    result = matrix(buffer.lookup_transform("camera", "mug", at(1.0)))
    np.testing.assert_allclose(result, np.linalg.inv(camera) @ mug, atol=1e-9)
    back = matrix(buffer.lookup_transform("mug", "camera", at(1.0)))
    np.testing.assert_allclose(result @ back, np.eye(4), atol=1e-9)


def test_the_transform_maps_points_from_source_to_target_frame() -> None:
    # The camera is 1 m above the floor and rotated by 90 degrees about z: its x axis is the world's y axis.
    buffer = Buffer()
    buffer.set_transform(stamped("world", "camera", 1.0, (0, 0, 1), Rotation.from_euler("z", 90, degrees=True)), "test")
    message = buffer.lookup_transform("world", "camera", at(1.0))
    assert (message.header.frame_id, message.child_frame_id) == ("world", "camera")
    np.testing.assert_allclose(matrix(message) @ [2, 0, 0, 1], [0, 2, 1, 1], atol=1e-9)


def test_a_static_transform_is_valid_at_every_time() -> None:
    buffer = Buffer()
    buffer.set_transform_static(stamped("base", "camera", 0.0, (1, 2, 3)), "test")
    for seconds in (0.5, 1e9):
        result = buffer.lookup_transform("base", "camera", at(seconds))
        assert matrix(result)[:3, 3].tolist() == [1, 2, 3]
        assert result.header.stamp == at(seconds).to_msg()


def test_time_zero_is_the_latest_common_time_of_the_chain() -> None:
    buffer = Buffer()
    buffer.set_transform_static(stamped("base", "camera", 0.0), "test")
    for seconds in (1.0, 2.0, 3.0):
        buffer.set_transform(stamped("world", "base", seconds, (seconds, 0, 0)), "test")
    for seconds in (1.0, 2.5):
        buffer.set_transform(stamped("world", "mug", seconds), "test")
    result = buffer.lookup_transform("world", "camera", NOW)
    assert result.header.stamp.sec == 3
    result = buffer.lookup_transform("mug", "camera", NOW)
    assert result.header.stamp == at(2.5).to_msg()
    assert result.transform.translation.x == pytest.approx(2.5)


def test_a_time_message_is_accepted_like_a_time() -> None:
    buffer = Buffer()
    buffer.set_transform(stamped("world", "camera", 1.25, (4, 0, 0)), "test")
    result = buffer.lookup_transform("world", "camera", TimeMessage(sec=1, nanosec=250_000_000))
    assert result.transform.translation.x == 4


@pytest.mark.parametrize(("seconds", "direction"), [(0.9, "past"), (2.1, "future")])
def test_extrapolation_is_refused(seconds: float, direction: str) -> None:
    buffer = Buffer()
    for known in (1.0, 2.0):
        buffer.set_transform(stamped("world", "camera", known), "test")
    with pytest.raises(ExtrapolationException, match=f"extrapolation into the {direction}"):
        buffer.lookup_transform("world", "camera", at(seconds))
    assert not buffer.can_transform("world", "camera", at(seconds))
    result = buffer.can_transform("world", "camera", at(seconds), return_debug_tuple=True)
    assert isinstance(result, tuple)
    assert not result[0]
    assert direction in result[1]


def test_transforms_above_the_common_ancestor_are_not_needed() -> None:
    buffer = Buffer()
    buffer.set_transform(stamped("map", "base", 1.0), "test")  # localisation stopped at 1 s
    buffer.set_transform(stamped("base", "camera", 5.0, (1, 0, 0)), "test")
    assert buffer.lookup_transform("base", "camera", at(5.0)).transform.translation.x == 1
    with pytest.raises(ExtrapolationException):
        buffer.lookup_transform("map", "camera", at(5.0))


def test_unknown_frames_unconnected_trees_and_bad_names_raise_different_errors() -> None:
    buffer = Buffer()
    buffer.set_transform(stamped("world", "camera", 1.0), "test")
    buffer.set_transform(stamped("mars", "rover", 1.0), "test")
    with pytest.raises(LookupException, match='"moon" passed to lookupTransform argument target_frame'):
        buffer.lookup_transform("moon", "camera", NOW)
    for time in (NOW, at(1.0)):
        with pytest.raises(ConnectivityException, match="'rover' and 'camera'"):
            buffer.lookup_transform("rover", "camera", time)
    with pytest.raises(InvalidArgumentException, match="/world"):
        buffer.lookup_transform("/world", "camera", NOW)


def test_samples_older_than_the_cache_time_are_dropped() -> None:
    buffer = Buffer(cache_time=Duration(seconds=2))
    for seconds in range(1, 11):
        buffer.set_transform(stamped("world", "camera", seconds, (seconds, 0, 0)), "test")
    assert buffer.lookup_transform("world", "camera", at(8.0)).transform.translation.x == 8
    with pytest.raises(ExtrapolationException, match="past"):
        buffer.lookup_transform("world", "camera", at(7.9))
    buffer.set_transform(stamped("world", "camera", 5.0), "test")  # older than the cache time
    with pytest.raises(ExtrapolationException, match="past"):
        buffer.lookup_transform("world", "camera", at(6.0))


def test_samples_may_arrive_out_of_order() -> None:
    buffer = Buffer()
    for seconds in (3.0, 1.0, 2.0):
        buffer.set_transform(stamped("world", "camera", seconds, (seconds**2, 0, 0)), "test")
    assert buffer.lookup_transform("world", "camera", at(1.5)).transform.translation.x == pytest.approx(2.5)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (stamped("world", "world", 1.0), "its own parent"),
        (stamped("", "camera", 1.0), "empty"),
        (stamped("world", "camera", 1.0, (float("nan"), 0, 0)), "not finite"),
    ],
)
def test_invalid_transforms_are_refused(bad: TransformStamped, message: str) -> None:
    with pytest.raises(InvalidArgumentException, match=message):
        Buffer().set_transform(bad, "test")


def test_a_quaternion_that_is_not_of_unit_length_is_refused() -> None:
    bad = stamped("world", "camera", 1.0)
    bad.transform.rotation.w = 0.5
    with pytest.raises(InvalidArgumentException, match="unit length"):
        Buffer().set_transform(bad, "test")


def test_a_loop_of_frames_is_an_error() -> None:
    buffer = Buffer()
    for parent, child in (("a", "b"), ("b", "c"), ("c", "a"), ("world", "camera")):
        buffer.set_transform(stamped(parent, child, 1.0), "test")
    for time in (NOW, at(1.0)):
        with pytest.raises(ConnectivityException, match="loop"):
            buffer.lookup_transform("world", "a", time)


def test_a_lookup_waits_for_a_late_transform() -> None:
    buffer = Buffer()
    late = threading.Timer(0.1, buffer.set_transform, [stamped("world", "camera", 1.0, (9, 0, 0)), "test"])
    late.start()
    result = buffer.lookup_transform("world", "camera", at(1.0), timeout=Duration(seconds=10))
    assert result.transform.translation.x == 9
    late.join()


def test_static_transforms_reach_a_late_listener() -> None:
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=random.randint(1, 100))
    node = rclpy.create_node("tf2_test", context=context)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    buffer = Buffer(node=node)
    latched = StaticTransformBroadcaster(node)
    latched.sendTransform(stamped("base", "camera", 0.0, (1, 0, 0)))
    latched.sendTransform([stamped("base", "lidar", 0.0, (2, 0, 0))])
    listener = TransformListener(buffer, node)
    moving = TransformBroadcaster(node)
    for tick in range(200):
        moving.sendTransform(stamped("world", "base", 1.0 + tick, (0, 0, 3)))
        executor.spin_once(timeout_sec=0.05)
        if buffer.can_transform("world", "lidar", NOW) and buffer.can_transform("world", "camera", NOW):
            break
    result = matrix(buffer.lookup_transform("world", "lidar", NOW))
    assert result[:3, 3].tolist() == [2, 0, 3]
    assert matrix(buffer.lookup_transform("world", "camera", NOW))[:3, 3].tolist() == [1, 0, 3]
    listener.unregister()
    node.destroy_node()
    rclpy.shutdown(context=context)


def test_clear_keeps_static_transforms_only() -> None:
    buffer = Buffer()
    buffer.set_transform(stamped("world", "base", 1.0), "test")
    buffer.set_transform_static(stamped("base", "camera", 0.0), "test")
    buffer.clear()
    assert buffer.can_transform("base", "camera", at(1.0))
    with pytest.raises(LookupException):
        buffer.lookup_transform("world", "camera", NOW)


def test_a_sample_takes_less_than_a_hundred_bytes() -> None:
    """Frames are never removed, as in tf2: 600 names of objects with 300 samples each then take less than 18 MB."""
    messages = [stamped("world", f"mug_{i % 10}", 0.03 * (i // 10), (0.1, 0.2, i)) for i in range(3000)]
    buffer = Buffer()
    tracemalloc.start()
    for message in messages:
        buffer.set_transform(message, "test")
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert taken < 100 * len(messages)
