# SPDX-License-Identifier: Apache-2.0
"""Writing a clip to a bag and reading it back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bag_rig import CAMERA, FRAMES, HEIGHT, SIZE, WIDTH, camera_pose, mug_pose, rewrite, write_clip
from rclpy.serialization import serialize_message
from ros_rig import header
from rosbags.rosbag2 import StoragePlugin, Writer
from sensor_msgs.msg import Image

from seqpose_core import ObjectPose
from seqpose_core.estimator import NonFiniteError
from seqpose_ros.bags.bag import Bag
from seqpose_ros.bags.estimate import SupportFrame, camera_poses, predict_bag
from seqpose_ros.bags.scoring import is_yaw_known
from seqpose_ros.images import image_fields
from train.bag_messages import MessageBuilder, typestore
from train.to_bag import EPOCH, WrittenBag, main, write_bag


def test_every_frame_of_the_clip_is_written(tmp_path: Path) -> None:
    assert write_bag(write_clip(tmp_path), tmp_path / "bag") == WrittenBag(FRAMES, {})


def test_reading_the_bag_gives_the_clip(bag_path: Path) -> None:
    with Bag(bag_path) as bag:
        frames = list(bag.frames())
        assert (len(bag), bag.compressed, bag.image.topic) == (FRAMES, True, "/camera/image_raw/compressed")
        assert bag.rate == pytest.approx(10.0, rel=1e-3)
    across = np.arange(WIDTH)
    for index, frame in enumerate(frames):
        assert frame.index == index
        assert frame.stamp == EPOCH * 10**9 + index * 10**8
        assert frame.frame_id == "camera_optical_frame"
        assert frame.camera == CAMERA
        assert np.abs(frame.image[..., 0].astype(int) - 2 * across).mean() < 3  # red, after JPEG
        assert frame.ground_truth is not None
        (mug,) = frame.ground_truth  # one visible pixel of the can is too few
        assert (mug.category, mug.track_id) == ("mug", 1)
        np.testing.assert_allclose(mug.transform, mug_pose(index), atol=1e-9)
        np.testing.assert_allclose(mug.size, SIZE, atol=1e-9)
        assert is_yaw_known(mug)


def test_the_ground_truth_covariance_shows_that_the_yaw_of_a_mug_is_unknown(tmp_path: Path) -> None:
    write_bag(write_clip(tmp_path, handle_visible=False), tmp_path / "bag")
    with Bag(tmp_path / "bag") as bag:
        (mug,) = next(bag.frames()).ground_truth or []
    assert not is_yaw_known(mug)
    axis = mug.rotation[:, 1]
    assert axis @ mug.covariance[3:, 3:] @ axis == pytest.approx(np.pi**2)
    assert np.abs(mug.covariance[3:, 3:] @ mug.rotation[:, 0]).max() < 1e-12


def test_the_transforms_of_the_bag_are_the_camera_poses(bag_path: Path) -> None:
    with Bag(bag_path) as bag:
        pose = camera_poses(bag, "world")
        for frame in bag.frames():
            np.testing.assert_allclose(pose(frame), camera_pose(frame.index), atol=1e-9)
        assert camera_poses(bag, "map")(frame) is None


def write_moving_camera(path: Path, frames: int, period: float, frame: str) -> None:
    """Images logged every 0.1 s with stamps every ``period`` seconds; the camera is at x = index, in metres."""
    store = typestore()
    builder = MessageBuilder(store, 90)
    picture = np.zeros((CAMERA.height, CAMERA.width, 3), np.uint8)
    with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        connections: dict[str, Any] = {}
        for index in range(frames):
            stamp, pose = round(1e9 * (1 + period * index)), np.eye(4)
            pose[0, 3] = index
            info, image = builder.camera_info(CAMERA, stamp), builder.image(picture, stamp)
            info.header.frame_id = image.header.frame_id = frame
            messages = {"/tf": builder.transform(pose, stamp), "/camera_info": info, "/image/compressed": image}
            for offset, (topic, message) in enumerate(messages.items()):
                kind = message.__msgtype__
                if topic not in connections:
                    connections[topic] = writer.add_connection(topic, kind, typestore=store)
                writer.write(connections[topic], 10**9 + index * 10**8 + offset, store.serialize_cdr(message, kind))


@pytest.mark.parametrize(
    ("period", "frame"),
    [(1.0, "camera_optical_frame"), (0.1, "/camera_optical_frame")],
    ids=["stamps that span more time than the recording", "a frame with a slash"],
)
def test_every_image_has_the_camera_pose_of_its_stamp(period: float, frame: str, tmp_path: Path) -> None:
    write_moving_camera(tmp_path / "bag", 41, period, frame)
    with Bag(tmp_path / "bag") as bag:
        pose = camera_poses(bag, "world")
        poses = [pose(frame) for frame in bag.frames()]
    assert [None if matrix is None else matrix[0, 3] for matrix in poses] == pytest.approx(list(range(41)))


def test_raw_images_in_a_sqlite_bag_are_read(tmp_path: Path) -> None:
    store = typestore()
    picture = np.random.default_rng(0).integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    info = MessageBuilder(store, 90).camera_info(CAMERA, 5 * 10**9)
    with Writer(tmp_path / "raw", version=9, storage_plugin=StoragePlugin.SQLITE3) as writer:
        images = writer.add_connection("/cam", "sensor_msgs/msg/Image", typestore=store)
        infos = writer.add_connection("/info", "sensor_msgs/msg/CameraInfo", typestore=store)
        message = Image(header=header(5.0), **image_fields(picture))
        writer.write(infos, 5 * 10**9, store.serialize_cdr(info, infos.msgtype))
        writer.write(images, 5 * 10**9 + 1, serialize_message(message))
    with Bag(tmp_path / "raw") as bag:
        (frame,) = bag.frames()
    np.testing.assert_array_equal(frame.image, picture)
    assert frame.ground_truth is None


def test_the_error_names_missing_paths_and_topics(tmp_path: Path, bag_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="there is no bag"):
        Bag(tmp_path / "none")
    with pytest.raises(
        ValueError, match=r"image topics of .*bag are: /camera/image_raw/compressed; /other is not among"
    ):
        Bag(bag_path, image_topic="/other")
    with pytest.raises(SystemExit):
        main([str(tmp_path / "val" / "00009"), "--out", str(tmp_path / "bag")])


class Blind:
    """An estimator that detects nothing."""

    def reset(self) -> None:
        pass

    def step(self, *_: Any) -> list[ObjectPose]:
        return []


def warnings(path: Path, fixed_frame: str) -> list[str]:
    with Bag(path) as bag:
        predict_bag(Blind(), bag, fixed_frame)  # type: ignore[arg-type]
        return bag.warnings


def test_images_without_the_fixed_frame_and_unusable_transforms_are_counted(bag_path: Path, tmp_path: Path) -> None:
    assert warnings(bag_path, "world") == []
    (text,) = warnings(bag_path, "map")
    assert text.startswith(f"{FRAMES} of {FRAMES} images have no transform to the fixed frame 'map' on tf")

    def damage(topic: str, number: int, message: Any) -> Any:
        if topic == "/tf" and number == 0:
            return b"\0\1\0\0\xff\xff\xff\x7f"
        if topic == "/tf" and number == FRAMES - 1:
            message.transforms[0].transform.translation.x = float("nan")
        return message

    transforms, images = warnings(rewrite(bag_path, tmp_path / "bag", damage), "world")
    assert transforms.startswith("2 transforms on tf are not used; the first: 8 bytes are not a tf2_msgs/TFMessage")
    assert images.startswith(f"2 of {FRAMES} images have no transform")  # those between two transforms have one


class RecordsPlanes(Blind):
    """An estimator that detects nothing and keeps the support planes that it is given."""

    def __init__(self) -> None:
        self.planes: list[Any] = []

    def step(self, *_: Any, support_plane: Any) -> list[ObjectPose]:
        self.planes.append(support_plane)
        return []


def test_the_support_plane_of_a_bag_is_that_of_its_frame_at_the_time_of_each_image(bag_path: Path) -> None:
    estimator = RecordsPlanes()
    with Bag(bag_path) as bag:
        run = predict_bag(estimator, bag, support=SupportFrame("world", 0.1))  # type: ignore[arg-type]
        assert bag.warnings == []
    # The camera is 0.5 m above the origin of the world and looks along its z axis; the plane is 0.1 m above the origin.
    assert len(estimator.planes) == FRAMES
    for plane in estimator.planes:
        np.testing.assert_allclose(plane.normal, [0, 0, 1], atol=1e-9)
        assert plane.offset == pytest.approx(0.4)
        assert (plane.height_noise, plane.tilt_noise, plane.prior) == pytest.approx(
            (0.01, np.radians(1), 0.8), rel=0.01
        )
    assert [frame.support_plane for frame in run.frames] == estimator.planes


def test_images_without_the_support_frame_are_processed_without_the_plane_and_counted(bag_path: Path) -> None:
    estimator = RecordsPlanes()
    with Bag(bag_path) as bag:
        predict_bag(estimator, bag, support=SupportFrame("table"))  # type: ignore[arg-type]
        (text,) = bag.warnings
    assert estimator.planes == [None] * FRAMES
    assert text.startswith(f"{FRAMES} of {FRAMES} images have no transform to the support frame 'table' on tf")


class Diverging(Blind):
    """An estimator whose network returns NaN for the second image."""

    def __init__(self) -> None:
        self.count = 0

    def step(self, *_: Any) -> list[ObjectPose]:
        self.count += 1
        if self.count == 2:
            raise NonFiniteError("the network returned NaN")
        return []


def test_an_image_for_which_the_network_returns_nan_is_skipped_and_named(bag_path: Path) -> None:
    with Bag(bag_path) as bag:
        predictions = predict_bag(Diverging(), bag)  # type: ignore[arg-type]
        assert sorted(predictions.objects) == [0, 2, 3]
        ((name, reason),) = bag.skipped_frames.items()
        assert name.startswith("frame 1 (stamp 17000000") and reason == "the network returned NaN"
