# SPDX-License-Identifier: Apache-2.0
"""Convert ROS messages to core types: CameraInfo to Camera, objects to ObjectPose, Transform to a matrix.

Messages are duck-typed: they come from rclpy or from rosbags.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from seqpose_core import CATEGORIES, Camera, Category, ObjectPose
from seqpose_core.geometry import make_transform
from seqpose_ros.errors import InputError, quote, shorten

# Distortion models whose coefficients are those of OpenCV's pinhole model, in the same order.
_PINHOLE_MODELS = ("", "plumb_bob", "rational_polynomial")
_FISHEYE_MODELS = ("equidistant", "fisheye")  # the second is RealSense's name

# Plausible focal lengths in units of the longer image side: from a fisheye lens (0.02) to a crop from a telephoto lens.
_FOCAL_LENGTHS = (0.02, 200.0)
# Degrees along the longer side in the training data of the bundled checkpoints. The renderer draws focal lengths of 0.6
# to 1.6 times REAL275's (591 pixels at a width of 640), and the augmentation crops up to 15 % of the width:
# 2 atan(0.85 * 320 / (1.6 * 591)) = 32.1 and 2 atan(320 / (0.6 * 591)) = 84.1 degrees, rounded outwards.
_FIELD_OF_VIEW = (32, 85)
_GREY = (160, 160, 160)  # colour of a category that is not one of NOCS
_LARGEST_DISTORTION = 1e4  # coefficients of a rational polynomial can be in the hundreds


def camera_from_info(info: Any, rectified: bool) -> Camera:
    """Camera of a sensor_msgs/CameraInfo at the size of the published images.

    :param rectified: whether the images are rectified: if true, intrinsics are P without distortion, else K with D.
    :return: Camera after the region of interest and binning.
    :raises InputError: the camera is not calibrated, its intrinsics are implausible, or its distortion model is not
        plumb_bob, rational_polynomial or equidistant.
    """
    matrix = np.asarray(info.p, dtype=np.float64).reshape(3, 4)[:, :3] if rectified else np.reshape(info.k, (3, 3))
    fisheye = not rectified and info.distortion_model in _FISHEYE_MODELS
    distortion = None if rectified or len(info.d) == 0 or not np.any(info.d) else info.d
    if fisheye:  # without coefficients it is the ideal equidistant lens, not a pinhole
        distortion = info.d if len(info.d) else (0.0,) * 4
    elif distortion is not None and info.distortion_model not in _PINHOLE_MODELS:
        raise InputError(
            "camera_info",
            f"camera_info has the distortion model {quote(info.distortion_model)}; supported are plumb_bob, "
            "rational_polynomial and equidistant. Rectify the images (image_proc) and set rectified to true",
        )
    try:
        camera = Camera.from_matrix(matrix, info.width, info.height, distortion, fisheye)
        if info.roi.width and info.roi.height:
            camera = camera.cropped(info.roi.x_offset, info.roi.y_offset, info.roi.width, info.roi.height)
        across, down = max(info.binning_x, 1), max(info.binning_y, 1)
        if max(across, down) > 1:  # columns and rows beyond a multiple of the binning are not sent
            width, height = camera.width // across, camera.height // down
            camera = camera.cropped(0, 0, width * across, height * down).resized(width, height)
    except ValueError as error:
        raise InputError("camera_info", f"camera_info cannot be used: {shorten(str(error))}") from error
    _check_plausible(camera)
    return camera


def _check_plausible(camera: Camera) -> None:
    """Refuse finite but implausible intrinsics, which would overflow in the network.

    :raises InputError: naming the value.
    """
    longest = max(camera.width, camera.height)
    low, high = (limit * longest for limit in _FOCAL_LENGTHS)
    if max(camera.fx, camera.fy, abs(camera.cx), abs(camera.cy)) < 5:
        raise InputError(
            "camera_info",
            f"camera_info has focal lengths {camera.fx:g} and {camera.fy:g} for {camera.width}x{camera.height} pixels; "
            "this looks like K in units of the image size, but CameraInfo has pixels: multiply it by the image size",
        )
    if not (low <= camera.fx <= high and low <= camera.fy <= high):
        raise InputError(
            "camera_info",
            f"camera_info has focal lengths {camera.fx:g} and {camera.fy:g} for {camera.width}x{camera.height} pixels; "
            f"they must be between {low:g} and {high:g} pixels",
        )
    if max(abs(camera.cx), abs(camera.cy)) > high:
        raise InputError(
            "camera_info",
            f"camera_info has the principal point ({camera.cx:g}, {camera.cy:g}); it must be within {high:g} pixels",
        )
    if camera.distortion is not None and max(map(abs, camera.distortion)) > _LARGEST_DISTORTION:
        raise InputError(
            "camera_info",
            f"camera_info has the distortion coefficient {max(camera.distortion, key=abs):g}; "
            f"absolute values must be at most {_LARGEST_DISTORTION:g}",
        )


def camera_for_image(image: np.ndarray, info: Any, rectified: bool) -> Camera:
    """Camera of one image (H, W, 3).

    :param info: sensor_msgs/CameraInfo, or None if none was received yet.
    :raises InputError: camera_info is missing or unusable, or its size differs from the size of the image.
    """
    if info is None:
        raise InputError(
            "no_camera_info", "an image came before any valid camera_info; is the topic remapped and published?"
        )
    camera = camera_from_info(info, rectified)
    height, width = image.shape[:2]
    if (info.width, info.height) == (width, height) != (camera.width, camera.height):
        raise InputError(
            "size",
            f"camera_info announces a region of interest or binning, {camera.width}x{camera.height} of "
            f"{info.width}x{info.height}, but the image has the full size {width}x{height}; clear roi and binning in "
            "the driver, or publish the cropped image",
        )
    if (camera.width, camera.height) != (width, height):
        raise InputError("size", f"camera_info is {camera.width}x{camera.height} but the image is {width}x{height}")
    return camera


def camera_warnings(image_topic: str, info: Any, camera: Camera, rectified: bool) -> list[str]:
    """Warnings about a usable camera whose settings are probably wrong.

    :param info: the sensor_msgs/CameraInfo of ``camera``.
    """
    warnings = []
    name = next((part for part in reversed(image_topic.split("/")) if part.startswith("image")), "")
    if not rectified and "rect" in name and np.any(info.d):
        warnings.append(
            f"{image_topic} is named as rectified images are, but rectified is false and camera_info has distortion: "
            "the images will be rectified again; set rectified to true"
        )
    view = 2 * np.degrees(np.arctan(max(camera.width / camera.fx, camera.height / camera.fy) / 2))
    if not _FIELD_OF_VIEW[0] <= view <= _FIELD_OF_VIEW[1]:
        warnings.append(
            f"the field of view is {view:.0f} degrees; the network was trained on {_FIELD_OF_VIEW[0]} to "
            f"{_FIELD_OF_VIEW[1]}, so expect larger errors"
        )
    return warnings


def matrix_from_transform(message: Any) -> np.ndarray:
    """(4, 4) matrix of a geometry_msgs/Transform; it maps points from the child frame to the parent frame."""
    t, q = message.translation, message.rotation
    return make_transform(Rotation.from_quat([q.x, q.y, q.z, q.w]).as_matrix(), [t.x, t.y, t.z])


def matrix_from_pose(message: Any) -> np.ndarray:
    """(4, 4) matrix of a geometry_msgs/Pose."""
    p, q = message.position, message.orientation
    return make_transform(Rotation.from_quat([q.x, q.y, q.z, q.w]).as_matrix(), [p.x, p.y, p.z])


def objects_from_array(message: Any) -> list[ObjectPose]:
    """Convert a seqpose_ros/ObjectPoseArray, in the frame of its header. See :func:`object_from_message`."""
    return [object_from_message(item) for item in message.objects]


def object_from_message(message: Any) -> ObjectPose:
    """Convert a seqpose_ros/ObjectPose. The message states id and symmetry, so any category is accepted.

    ``on_support`` is False, not None, if the node has no support plane.

    :raises InputError: a value is not finite, or an extent is not positive.
    """
    name, p, q = str(message.category), message.pose.pose.position, message.pose.pose.orientation
    position, quaternion = np.array([p.x, p.y, p.z]), np.array([q.x, q.y, q.z, q.w])
    size = np.array([message.size.x, message.size.y, message.size.z])
    covariance = np.reshape(np.asarray(message.pose.covariance, dtype=np.float64), (6, 6))
    _check_values(name, position, quaternion, size, covariance)
    info = next((c for c in CATEGORIES if c.name == name), None)
    return ObjectPose(
        category=name,
        score=float(message.score),
        rotation=Rotation.from_quat(quaternion).as_matrix(),
        translation=position,
        size=size,
        covariance=covariance,
        track_id=int(message.track_id) if message.track_id >= 0 else None,
        age=int(message.age),
        category_info=info or Category(message.category_id, name, message.symmetric, tuple(size.tolist()), _GREY),
        on_support=bool(message.on_support),
    )


def objects_from_detections(detections: Sequence[Any], categories: Sequence[Category] = CATEGORIES) -> list[ObjectPose]:
    """Convert each vision_msgs/Detection3D by its first hypothesis, in the frame of its header.

    A numeric detection id is the track id. The age is not part of the message and is 0.

    :raises InputError: see :func:`object_from_detection`.
    """
    return [object_from_detection(detection, categories) for detection in detections]


def object_from_detection(detection: Any, categories: Sequence[Category] = CATEGORIES) -> ObjectPose:
    """Convert one vision_msgs/Detection3D, of vision_msgs 4 or of an older layout.

    :param categories: the known ones.
    :raises InputError: the detection has no hypothesis, an unknown category, a value that is not finite, or an extent
        that is not positive.
    """
    if not detection.results:
        raise InputError("detection", "a detection has no hypothesis, so no category and no pose")
    name, score, with_covariance = _first_hypothesis(detection)
    info = next((c for c in categories if c.name == name), None)
    if info is None:
        raise InputError(
            "detection", f"unknown category {quote(name)}; known are {', '.join(c.name for c in categories)}"
        )
    p, q = with_covariance.pose.position, with_covariance.pose.orientation
    position, quaternion = np.array([p.x, p.y, p.z]), np.array([q.x, q.y, q.z, q.w])
    size = np.array([detection.bbox.size.x, detection.bbox.size.y, detection.bbox.size.z])
    covariance = np.reshape(np.asarray(with_covariance.covariance, dtype=np.float64), (6, 6))
    _check_values(name, position, quaternion, size, covariance)
    track_id = str(getattr(detection, "id", getattr(detection, "tracking_id", "")))
    return ObjectPose(
        category=name,
        score=score,
        rotation=Rotation.from_quat(quaternion).as_matrix(),
        translation=position,
        size=size,
        covariance=covariance,
        track_id=int(track_id) if track_id.isdecimal() and int(track_id) < 2**63 else None,
        category_info=info,
    )


def _check_values(
    name: str, position: np.ndarray, quaternion: np.ndarray, size: np.ndarray, covariance: np.ndarray
) -> None:
    """:raises InputError: a value is not finite, an extent is not positive, or the quaternion is zero."""
    for what, values in (
        ("position", position),
        ("orientation", quaternion),
        ("size", size),
        ("covariance", covariance),
    ):
        if not np.isfinite(values).all():
            raise InputError("detection", f"{what} {values.tolist()} of a {name} is not finite")
    if not (size > 0).all():
        raise InputError("detection", f"size {size.tolist()} of a {name} is not positive")
    if not quaternion.any():
        raise InputError("detection", f"orientation {quaternion.tolist()} of a {name} is not a quaternion")


def _first_hypothesis(detection: Any) -> tuple[str, float, Any]:
    """Class, score and PoseWithCovariance of the first hypothesis.

    vision_msgs 3 and 4 put class and score into a message ``hypothesis``, older versions into the result itself; the
    class was named ``id``.

    :raises InputError: the hypothesis has another layout.
    """
    result = detection.results[0]
    hypothesis = getattr(result, "hypothesis", result)
    name = getattr(hypothesis, "class_id", getattr(hypothesis, "id", None))
    if name is None or not hasattr(result, "pose") or not hasattr(detection.bbox, "size"):
        raise InputError("detection", "the layout of vision_msgs/Detection3D is not known: it has no class_id or id")
    return str(name), float(hypothesis.score), result.pose
