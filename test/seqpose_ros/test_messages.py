# SPDX-License-Identifier: Apache-2.0
"""Conversion of objects to messages, frames and axes, and of camera_info to Camera."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from rclpy.serialization import serialize_message
from scipy.spatial.transform import Rotation
from sensor_msgs.msg import CameraInfo
from std_msgs.msg import Header
from visualization_msgs.msg import Marker

from seqpose_core import CATEGORY_NAMES, ObjectPose
from seqpose_core.geometry import make_transform, rotation_error
from seqpose_ros.errors import InputError
from seqpose_ros.from_messages import camera_from_info, objects_from_array, objects_from_detections
from seqpose_ros.markers import MarkerArrayBuilder
from seqpose_ros.message_builders import (
    DetectionsBuilder,
    ObjectFields,
    ObjectsBuilder,
    TransformsBuilder,
    quaternion_from_matrix,
)
from seqpose_ros.msg import ObjectPose as ObjectPoseMessage
from seqpose_ros.to_messages import convert_axes, object_message, pose_message, transform_objects

HEADER = Header(frame_id="camera")


def random_objects(count: int = 6, seed: int = 0) -> list[ObjectPose]:
    rng = np.random.default_rng(seed)
    factor = rng.normal(size=(count, 6, 6))
    return [
        ObjectPose(
            category=CATEGORY_NAMES[i % 6],
            score=float(rng.uniform()),
            rotation=Rotation.random(rng=rng).as_matrix(),
            translation=rng.normal(size=3),
            size=rng.uniform(0.05, 0.3, 3),
            covariance=factor[i] @ factor[i].T,
            track_id=None if i % 3 == 2 else 10 + i,
            age=i,
        )
        for i in range(count)
    ]


def info(width: int = 640, height: int = 480, d: Sequence[float] = ()) -> CameraInfo:
    message = CameraInfo(width=width, height=height, distortion_model="plumb_bob", d=list(d))
    message.k = np.array([600.0, 0, 320, 0, 610, 240, 0, 0, 1])
    message.p = np.array([500.0, 0, 310, -50, 0, 510, 230, 0, 0, 0, 1, 0])
    return message


@pytest.mark.parametrize(("text", "number"), [("7", 7), (str(2**63 - 1), 2**63 - 1), (str(2**63), None), ("a7", None)])
def test_an_id_that_is_no_64_bit_number_is_no_track_id(text: str, number: int | None) -> None:
    (detection,) = DetectionsBuilder().message(HEADER, ObjectFields.of(random_objects()[:1])).detections
    detection.id = text
    assert objects_from_detections([detection])[0].track_id == number


def test_converting_to_detections_and_back_is_lossless() -> None:
    objects = random_objects()
    restored = objects_from_detections(DetectionsBuilder().message(HEADER, ObjectFields.of(objects)).detections)
    for sent, got in zip(objects, restored, strict=True):
        assert (got.category, got.track_id) == (sent.category, sent.track_id)
        assert got.score == sent.score
        assert rotation_error(got.rotation, sent.rotation) < 1e-12
        np.testing.assert_array_equal(got.translation, sent.translation)
        np.testing.assert_array_equal(got.size, sent.size)
        np.testing.assert_array_equal(got.covariance, sent.covariance)


def test_a_detection_has_one_hypothesis_and_the_box_has_its_pose() -> None:
    for o, detection in zip(
        random_objects(), DetectionsBuilder().message(HEADER, ObjectFields.of(random_objects())).detections, strict=True
    ):
        assert len(detection.results) == 1
        assert detection.results[0].hypothesis.class_id == o.category
        assert detection.bbox.center == detection.results[0].pose.pose
        assert (detection.bbox.size.x, detection.bbox.size.y, detection.bbox.size.z) == tuple(o.size)
        assert detection.id == ("" if o.track_id is None else str(o.track_id))
        assert detection.header.frame_id == "camera"


def test_quaternions_have_a_positive_w() -> None:
    for o in random_objects(30):
        q = pose_message(o).orientation
        assert q.w >= 0
        assert rotation_error(Rotation.from_quat([q.x, q.y, q.z, q.w]).as_matrix(), o.rotation) < 1e-12


def test_quaternions_equal_those_of_scipy_also_for_rotations_by_180_degrees() -> None:
    random = np.random.default_rng(0)
    by_180_degrees = [Rotation.from_rotvec(np.pi * np.eye(3)[axis]) for axis in range(3)]
    for rotation in [*Rotation.random(200, random_state=random), *by_180_degrees, Rotation.identity()]:
        quaternion = np.array(quaternion_from_matrix(rotation.as_matrix()))
        expected = rotation.as_quat()
        assert quaternion[3] >= 0
        # 1 - |cos(angle / 2)| of the rotation between them.
        assert abs(quaternion @ expected) == pytest.approx(1.0, abs=1e-14)
        assert np.linalg.norm(quaternion) == pytest.approx(1.0, abs=1e-14)


def test_object_messages_have_category_symmetry_and_track_id() -> None:
    messages = ObjectsBuilder().message(HEADER, ObjectFields.of(random_objects())).objects
    assert [m.category_id for m in messages] == [1, 2, 3, 4, 5, 6]
    assert [m.category for m in messages if m.symmetric] == ["bottle", "bowl", "can"]
    assert messages[2].track_id == ObjectPoseMessage.UNTRACKED == -1
    assert messages[3].track_id == 13


def test_object_messages_state_which_objects_stand_on_the_support_plane() -> None:
    flags = [True, False, None]  # None: no plane was given
    objects = [replace(o, on_support=flag) for o, flag in zip(random_objects(3), flags, strict=True)]
    builder = ObjectsBuilder()
    message = builder.message(HEADER, ObjectFields.of(objects))
    assert [m.on_support for m in message.objects] == [True, False, False]
    assert [o.on_support for o in objects_from_array(message)] == [True, False, False]
    assert object_message(objects[0]).on_support
    # The builder uses the same messages for the next image.
    assert not any(m.on_support for m in builder.message(HEADER, ObjectFields.of(objects[1:])).objects)


def test_rep103_rotates_the_frame_and_keeps_the_box() -> None:
    (nocs,), (rep103,) = convert_axes(random_objects(1), "nocs"), convert_axes(random_objects(1), "rep103")
    np.testing.assert_allclose(rep103.rotation[:, 2], nocs.rotation[:, 1])  # z is what was y: up
    np.testing.assert_allclose(rep103.rotation[:, 0], nocs.rotation[:, 0])  # x stays
    assert np.linalg.det(rep103.rotation) == pytest.approx(1.0)
    # The same box in space: every corner of one is a corner of the other.
    distances = np.linalg.norm(nocs.corners[:, None] - rep103.corners[None], axis=2)
    np.testing.assert_allclose(distances.min(axis=1), 0.0, atol=1e-12)


def test_poses_and_covariances_are_transformed_to_another_frame() -> None:
    (o,) = random_objects(1)
    # Camera looking along world x: camera z is world x, camera x is world -y, camera y is world -z.
    rotation = np.array([[0.0, 0, 1], [-1, 0, 0], [0, -1, 0]])
    (moved,) = transform_objects([o], make_transform(rotation, [1.0, 2.0, 3.0]))
    x, y, z = o.translation
    np.testing.assert_allclose(moved.translation, [z + 1, -x + 2, -y + 3])
    np.testing.assert_allclose(moved.rotation, rotation @ o.rotation)
    # World x is camera z, also for the variances of position and rotation.
    assert moved.covariance[0, 0] == pytest.approx(o.covariance[2, 2])
    assert moved.covariance[3, 3] == pytest.approx(o.covariance[5, 5])
    assert moved.covariance[0, 4] == pytest.approx(-o.covariance[2, 3])
    np.testing.assert_array_equal(moved.size, o.size)


def test_the_covariance_in_the_target_frame_is_that_of_transformed_samples() -> None:
    """100,000 poses are drawn from the covariance in the camera frame, transformed, and compared with the message."""
    rng, count = np.random.default_rng(3), 100_000
    scale = np.diag([0.02, 0.01, 0.1, 0.05, 0.1, 0.2]) @ rng.normal(size=(6, 6))
    o = replace(random_objects(1)[0], covariance=scale @ scale.T / 6)
    target = make_transform(Rotation.from_euler("xyz", [40, -70, 110], degrees=True).as_matrix(), [1.0, 2.0, 3.0])
    errors = rng.multivariate_normal(np.zeros(6), o.covariance, count)
    # The rotation vector of the error is in the axes of the header frame.
    poses = np.tile(np.eye(4), (count, 1, 1))
    poses[:, :3, :3] = Rotation.from_rotvec(errors[:, 3:]).as_matrix() @ o.rotation
    poses[:, :3, 3] = o.translation + errors[:, :3]
    samples, mean = target @ poses, target @ o.transform
    rotations = Rotation.from_matrix(samples[:, :3, :3] @ mean[:3, :3].T).as_rotvec()
    expected = np.cov(np.hstack([samples[:, :3, 3] - mean[:3, 3], rotations]).T)
    (moved,) = transform_objects([o], target)
    fields = ObjectFields.of([moved])
    for message in (
        DetectionsBuilder().message(HEADER, fields).detections[0].results[0].pose,
        ObjectsBuilder().message(HEADER, fields).objects[0].pose,
    ):
        found = np.reshape(message.covariance, (6, 6))
        # Standard error of the entries of a sample covariance.
        error = np.sqrt((np.outer(np.diag(found), np.diag(found)) + found**2) / count)
        assert np.abs((found - expected) / error).max() < 5
        assert np.abs((o.covariance - expected) / error).max() > 50  # the one in the camera frame differs


def test_confirmed_tracks_with_a_name_have_a_tf_frame() -> None:
    names = {10: "seen/bottle_10", 11: "seen/bowl_11", 13: "seen/can_13"}  # the laptop has no name
    transforms = TransformsBuilder().messages(HEADER, ObjectFields.of(random_objects()), names)
    assert [t.child_frame_id for t in transforms] == [
        "seen/bottle_10",
        "seen/bowl_11",
        "seen/can_13",
    ]
    assert {t.header.frame_id for t in transforms} == {"camera"}


def test_markers_of_vanished_objects_are_deleted_once() -> None:
    builder, objects = MarkerArrayBuilder(), random_objects(2)
    first = builder.message(HEADER, ObjectFields.of(objects), up_axis=1).markers
    assert {m.action for m in first} == {Marker.ADD}
    assert {(m.ns, m.id) for m in first} == {(ns, i) for ns in ("box", "axes", "label") for i in (10, 11)}
    second = builder.message(HEADER, ObjectFields.of(objects[:1]), up_axis=1).markers
    assert {(m.ns, m.id) for m in second if m.action == Marker.DELETE} == {(ns, 11) for ns in ("box", "axes", "label")}
    third = builder.message(HEADER, ObjectFields.of(objects[:1]), up_axis=1).markers
    assert all(m.action == Marker.ADD for m in third)
    assert [m.action for m in builder.clear().markers] == [Marker.DELETEALL]


def test_reused_messages_equal_new_ones() -> None:
    # After a message of five objects, a message of two others has no field of the former.
    first, second = ObjectFields.of(random_objects(5)), ObjectFields.of(random_objects(7)[5:])
    builders = (DetectionsBuilder(), ObjectsBuilder())
    for builder, new in zip(builders, (DetectionsBuilder(), ObjectsBuilder()), strict=True):
        builder.message(HEADER, first)
        reused = builder.message(HEADER, second)
        assert serialize_message(reused) == serialize_message(new.message(HEADER, second))
    markers = MarkerArrayBuilder()
    markers.message(HEADER, first, 1)
    reused_markers = [m for m in markers.message(HEADER, second, 2).markers if m.action == Marker.ADD]
    assert reused_markers == MarkerArrayBuilder().message(HEADER, second, 2).markers
    transforms, names = TransformsBuilder(), {10: "a", 11: "b", 15: "c", 16: "d"}
    transforms.messages(HEADER, first, names)
    assert transforms.messages(HEADER, second, names) == TransformsBuilder().messages(HEADER, second, names)


def test_the_label_is_above_the_box_along_the_up_axis() -> None:
    upright = replace(random_objects(1)[0], rotation=np.eye(3), translation=np.array([0.1, 0.2, 0.9]), size=np.ones(3))
    label = MarkerArrayBuilder().message(HEADER, ObjectFields.of([upright]), up_axis=1).markers[2]
    # Half of the extent of 1 m, and 3 cm, along y.
    position = label.pose.position
    np.testing.assert_allclose([position.x, position.y, position.z], [0.1, 0.2 + 0.5 + 0.03, 0.9])


def test_the_box_marker_has_the_twelve_edges_of_the_box() -> None:
    (o,) = random_objects(1)
    box = next(
        m for m in MarkerArrayBuilder().message(HEADER, ObjectFields.of([o]), up_axis=1).markers if m.ns == "box"
    )
    ends = np.array([[p.x, p.y, p.z] for p in box.points]).reshape(12, 2, 3)
    lengths = np.sort(np.linalg.norm(ends[:, 0] - ends[:, 1], axis=1))
    np.testing.assert_allclose(lengths, np.sort(np.repeat(o.size, 4)))


def test_raw_images_use_k_and_rectified_images_use_p() -> None:
    raw, rectified = (
        camera_from_info(info(d=[0.1, 0, 0, 0, 0]), False),
        camera_from_info(info(d=[0.1] * 5), True),
    )
    assert (raw.fx, raw.fy, raw.cx, raw.cy) == (600, 610, 320, 240)
    assert raw.distortion == (0.1, 0, 0, 0, 0)
    assert (rectified.fx, rectified.fy, rectified.cx, rectified.cy) == (500, 510, 310, 230)
    assert rectified.distortion is None


def test_region_of_interest_and_binning_change_the_intrinsics() -> None:
    message = info()
    message.roi.x_offset, message.roi.y_offset, message.roi.width, message.roi.height = 100, 40, 400, 300
    message.binning_x = message.binning_y = 2
    camera = camera_from_info(message, False)
    assert (camera.width, camera.height, camera.fx, camera.fy) == (200, 150, 300, 305)
    # Pixel (320, 240) of the sensor is (220, 200) of the window; binning maps pixel centres u to (u + 0.5) / 2 - 0.5.
    assert (camera.cx, camera.cy) == ((220 + 0.5) / 2 - 0.5, (200 + 0.5) / 2 - 0.5)


def test_binning_of_an_odd_size_leaves_out_the_last_pixels() -> None:
    message = info()
    message.width, message.height, message.binning_x, message.binning_y = 641, 482, 2, 4
    camera = camera_from_info(message, False)
    # 641 / 2 and 482 / 4, rounded down; each pixel has 2 columns and 4 rows of the sensor, so f is 600 / 2 and 610 / 4.
    assert (camera.width, camera.height) == (320, 120)
    assert (camera.fx, camera.fy) == pytest.approx((300, 152.5))
    assert (camera.cx, camera.cy) == pytest.approx(((320 + 0.5) / 2 - 0.5, (240 + 0.5) / 4 - 0.5))


def test_an_unusable_camera_is_refused_with_a_reason() -> None:
    uncalibrated = info()
    uncalibrated.k = np.zeros(9)
    with pytest.raises(InputError, match="calibrated"):
        camera_from_info(uncalibrated, False)
    mirror = info(d=[0.1, 0.1, 0.1, 0.1])
    mirror.distortion_model = "omnidirectional"
    with pytest.raises(InputError, match=r"'omnidirectional'.*(?i:rectify)"):
        camera_from_info(mirror, False)
    assert camera_from_info(mirror, True).distortion is None
