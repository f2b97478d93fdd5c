# SPDX-License-Identifier: Apache-2.0
"""``python -m train.to_bag``: convert a clip in the NOCS layout to a ROS 2 bag (MCAP).

    python -m train.to_bag out/data/val/00000 --out out/bag
    python -m train.to_bag NOCS/real/test/scene_1 --out out/scene_1

Topics: /camera/image_raw/compressed and /camera/camera_info, /tf with world -> camera_optical_frame, and the
ground truth as vision_msgs/Detection3DArray on /truth/detections.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from rosbags.interfaces import Connection
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore
from scipy.spatial.transform import Rotation

from seqpose_core import CATEGORIES, Camera, Category, SeqPoseConfig
from train.data import BrokenFrameError, Frame, NocsLayout, SceneObject
from train.data.labels import is_symmetric
from train.data.layout import Layout
from train.data.model_sizes import ModelSizes
from train.data.nocs_sets import NOCS_SPLITS, open_layout, split_of_folder

CAMERA_FRAME = "camera_optical_frame"
WORLD_FRAME = "world"
IMAGE_TOPIC = "/camera/image_raw/compressed"
INFO_TOPIC = "/camera/camera_info"
GROUND_TRUTH_TOPIC = "/truth/detections"
EPOCH = 1_700_000_000  # seconds added to all stamps: clips start at 0, which tf interprets as "the latest"
#: Minimum visible part of the image, 16 pixels at 224x168 as in training. Smaller objects are left out.
MIN_VISIBLE = 16 / (224 * 168)

_VISION_MSGS = Path(__file__).resolve().parents[1] / "overlay" / "vision_msgs" / "msg"


def typestore() -> Typestore:
    """The message types of Jazzy and vision_msgs."""
    store = get_typestore(Stores.ROS2_JAZZY)
    types: dict[str, Any] = {}
    for path in sorted(_VISION_MSGS.glob("*.msg")):
        types.update(get_types_from_msg(path.read_text(), f"vision_msgs/msg/{path.stem}"))
    store.register(types)
    return store


class MessageBuilder:
    """Builds the messages of a frame with the types of a store."""

    def __init__(self, store: Typestore, jpeg_quality: int) -> None:
        self._types = store.types
        self._quality = jpeg_quality

    def messages(self, frame: Frame, stamp: int) -> Iterator[tuple[str, Any]]:
        """(topic, message) of all messages at ``stamp`` nanoseconds, the camera's transform first."""
        if frame.camera_pose is not None:
            yield "/tf", self.transform(frame.camera_pose, stamp)
        yield INFO_TOPIC, self.camera_info(frame.camera, stamp)
        yield IMAGE_TOPIC, self.image(frame.image, stamp)
        yield GROUND_TRUTH_TOPIC, self.ground_truth(frame, stamp)

    def image(self, rgb: NDArray[np.uint8], stamp: int) -> Any:
        """sensor_msgs/CompressedImage, JPEG."""
        flags = [cv2.IMWRITE_JPEG_QUALITY, self._quality, cv2.IMWRITE_JPEG_OPTIMIZE, 1]
        done, data = cv2.imencode(".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), flags)
        assert done
        header = self._header(stamp, CAMERA_FRAME)
        # image_transport's format string: the encoding of the raw image, and that of the JPEG.
        return self._make(
            "sensor_msgs",
            "CompressedImage",
            header=header,
            format="rgb8; jpeg compressed bgr8",
            data=data.ravel(),
        )

    def camera_info(self, camera: Camera, stamp: int) -> Any:
        """sensor_msgs/CameraInfo of an undistorted camera."""
        roi = self._make("sensor_msgs", "RegionOfInterest", x_offset=0, y_offset=0, height=0, width=0, do_rectify=False)
        return self._make(
            "sensor_msgs",
            "CameraInfo",
            header=self._header(stamp, CAMERA_FRAME),
            height=camera.height,
            width=camera.width,
            distortion_model="plumb_bob",
            d=np.zeros(5),
            k=camera.matrix.ravel(),
            r=np.eye(3).ravel(),
            p=np.hstack([camera.matrix, np.zeros((3, 1))]).ravel(),
            binning_x=0,
            binning_y=0,
            roi=roi,
        )

    def transform(self, world_from_camera: NDArray[np.float64], stamp: int) -> Any:
        """tf2_msgs/TFMessage with the camera pose in the world frame."""
        transform = self._make(
            "geometry_msgs",
            "Transform",
            translation=self._vector(world_from_camera[:3, 3]),
            rotation=self._quaternion(world_from_camera[:3, :3]),
        )
        stamped = self._make(
            "geometry_msgs",
            "TransformStamped",
            header=self._header(stamp, WORLD_FRAME),
            child_frame_id=CAMERA_FRAME,
            transform=transform,
        )
        return self._make("tf2_msgs", "TFMessage", transforms=[stamped])

    def ground_truth(self, frame: Frame, stamp: int) -> Any:
        """vision_msgs/Detection3DArray of the visible objects, id = instance.

        The covariance is zero except for the yaw (about the object's y axis) of symmetric objects and of mugs whose
        handle is hidden, which is not visible.
        """
        minimum = MIN_VISIBLE * frame.camera.width * frame.camera.height
        detections = [self._detection(o, stamp) for o in frame.objects if o.visible_pixels >= minimum]
        header = self._header(stamp, CAMERA_FRAME)
        return self._make("vision_msgs", "Detection3DArray", header=header, detections=detections)

    def _detection(self, item: SceneObject, stamp: int) -> Any:
        x, y, z = (float(v) for v in item.translation)
        pose = self._make(
            "geometry_msgs",
            "Pose",
            position=self._make("geometry_msgs", "Point", x=x, y=y, z=z),
            orientation=self._quaternion(item.rotation),
        )
        covariance = np.zeros((6, 6))
        if is_symmetric(item):
            axis = item.rotation[:, 1]
            covariance[3:, 3:] = np.pi**2 * np.outer(axis, axis)
        with_covariance = self._make("geometry_msgs", "PoseWithCovariance", pose=pose, covariance=covariance.ravel())
        hypothesis = self._make(
            "vision_msgs",
            "ObjectHypothesisWithPose",
            hypothesis=self._make("vision_msgs", "ObjectHypothesis", class_id=item.category_info.name, score=1.0),
            pose=with_covariance,
        )
        return self._make(
            "vision_msgs",
            "Detection3D",
            header=self._header(stamp, CAMERA_FRAME),
            results=[hypothesis],
            bbox=self._make("vision_msgs", "BoundingBox3D", center=pose, size=self._vector(item.size)),
            id=str(item.instance),
        )

    def _make(self, package: str, name: str, **fields: Any) -> Any:
        return self._types[f"{package}/msg/{name}"](**fields)

    def _header(self, stamp: int, frame_id: str) -> Any:
        seconds, nanoseconds = divmod(stamp, 10**9)
        time = self._make("builtin_interfaces", "Time", sec=seconds, nanosec=nanoseconds)
        return self._make("std_msgs", "Header", stamp=time, frame_id=frame_id)

    def _vector(self, values: NDArray[np.float64]) -> Any:
        x, y, z = (float(v) for v in values)
        return self._make("geometry_msgs", "Vector3", x=x, y=y, z=z)

    def _quaternion(self, rotation: NDArray[np.float64]) -> Any:
        x, y, z, w = (float(v) for v in Rotation.from_matrix(rotation).as_quat())
        return self._make("geometry_msgs", "Quaternion", x=x, y=y, z=z, w=w)


@dataclass(frozen=True)
class WrittenBag:
    """Number of frames written to a bag, and the skipped frames with file and reason."""

    frames: int
    skipped: dict[str, str]


def write_bag(
    scene: Path,
    out: Path,
    jpeg_quality: int = 82,
    labels: Path | None = None,
    rate: float = 30.0,
    categories: Sequence[Category] = CATEGORIES,
) -> WrittenBag:
    """Write the clip in folder ``scene`` to a new bag folder ``out``; frames that cannot be read are skipped.

    :param labels: folder of the label pickles; by default ``gts/<split>`` next to the split's folder, and NOCS's
        labels for scenes of ``real/test`` and ``camera/val``.
    :param rate: frames per second of a scene without camera_poses.txt, which holds the stamps.
    :param categories: that the class ids of the labels refer to; scenes of NOCS have its own six.
    :raises FileNotFoundError: the scene or its labels are missing.
    :raises ValueError: no frame can be read, or ``out`` exists.
    """
    try:
        layout = _layout(scene, labels, categories)
    except FileNotFoundError as error:
        if scene.is_dir() and next(scene.glob("*_color.png"), None) is not None:
            raise
        raise FileNotFoundError(
            f"{scene} is not a folder with <frame>_color.png; give a scene, such as <root>/val/00000"
        ) from error
    clip = next((i for i, c in enumerate(layout.clips) if c.scene == scene.name), None)
    if clip is None:
        raise FileNotFoundError(
            f"{scene} holds no frames; scenes of {scene.parent} are {layout.clips[0].scene} to {layout.clips[-1].scene}"
        )
    if out.exists():
        raise ValueError(f"{out} exists; a bag is written to a new folder")
    store = typestore()
    builder = MessageBuilder(store, jpeg_quality)
    stamped = (scene / "camera_poses.txt").is_file()
    connections: dict[str, Connection] = {}
    skipped: dict[str, str] = {}
    count, last = 0, -1
    with Writer(out, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        for index, name in enumerate(layout.clips[clip].frames):
            try:
                frame = layout.read(clip, index)
                stamp = EPOCH * 10**9 + _nanoseconds(frame, scene, stamped, rate)
                if stamp <= last:
                    raise BrokenFrameError(
                        f"{scene}/camera_poses.txt", f"row {int(name)} is not later than the previous one"
                    )
            except BrokenFrameError as error:
                skipped[f"{scene.name}/{name}"] = str(error)
                continue
            for order, (topic, message) in enumerate(builder.messages(frame, stamp)):
                kind = message.__msgtype__
                if topic not in connections:
                    connections[topic] = writer.add_connection(topic, kind, typestore=store)
                # One microsecond apart, because messages recorded at the same time have no order.
                writer.write(connections[topic], stamp + 1000 * order, store.serialize_cdr(message, kind))
            count, last = count + 1, stamp
    if not count:
        shutil.rmtree(out)
        raise ValueError(f"none of the {len(skipped)} frames of {scene} can be used; {_first_reasons(skipped, 1)}")
    return WrittenBag(count, skipped)


def _layout(scene: Path, labels: Path | None, categories: Sequence[Category]) -> Layout:
    split = scene.parent
    found = split_of_folder(split)
    if found is None:
        return NocsLayout(split, labels or split.parent / "gts" / split.name, categories=categories)
    root, name = found
    if labels is None:
        return open_layout(root, name)
    nocs = NOCS_SPLITS[name]
    return NocsLayout(split, labels, nocs.intrinsics, nocs.frame_rate, sizes=ModelSizes(root / "obj_models" / nocs.gts))


def _nanoseconds(frame: Frame, scene: Path, stamped: bool, rate: float) -> int:
    """Time of a frame from the start of the clip.

    :raises BrokenFrameError: it is unknown, or too late for the 32-bit seconds of ROS stamps.
    """
    if not stamped:
        file, what, seconds = f"{scene}/{frame.name}_color.png", f"frame number {frame.name}", int(frame.name) / rate
    else:
        file, what = f"{scene}/camera_poses.txt", f"row {int(frame.name)}"
        if frame.stamp is None:
            raise BrokenFrameError(file, f"{what} has no finite stamp")
        seconds = frame.stamp
    if not -EPOCH <= seconds < 2**31 - EPOCH:
        raise BrokenFrameError(
            file, f"{what} is at {seconds:g} s, which does not fit into the 32-bit seconds of a stamp"
        )
    return round(seconds * 1e9)


def _first_reasons(skipped: dict[str, str], count: int) -> str:
    return "; ".join(f"{name}: {reason}" for name, reason in list(skipped.items())[:count])


def main(arguments: list[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        prog="python -m train.to_bag", description="convert a clip in the NOCS layout to a ROS 2 bag (MCAP)"
    )
    parser.add_argument("scene", type=Path, help="scene folder, <root>/<split>/<scene>")
    parser.add_argument("--out", type=Path, required=True, help="bag folder to create")
    parser.add_argument("--jpeg-quality", type=int, default=82, choices=range(1, 101), metavar="1..100")
    parser.add_argument("--labels", type=Path, help="folder of label pickles (default <root>/gts/<split>)")
    parser.add_argument(
        "--rate", type=float, default=30.0, help="frames per second of a scene without stamps (default %(default)g)"
    )
    parser.add_argument(
        "--model", type=Path, help="model configuration whose categories the labels have (default: the six of NOCS)"
    )
    options = parser.parse_args(arguments)
    if not 0.001 <= options.rate <= 10_000:  # stamps in int32 seconds, and different ones for successive frames
        parser.error(f"--rate is {options.rate:g}; it must be between 0.001 and 10000")
    try:
        categories = CATEGORIES if options.model is None else SeqPoseConfig.from_yaml(options.model).categories
        scene = options.scene.resolve()
        bag = write_bag(scene, options.out, options.jpeg_quality, options.labels, options.rate, categories)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    size = sum(path.stat().st_size for path in options.out.iterdir())
    print(f"{options.out}: {bag.frames} frames, {size / 1e6:.2f} MB")
    if bag.skipped:
        print(f"{len(bag.skipped)} frames skipped: {_first_reasons(bag.skipped, 5)}")


if __name__ == "__main__":
    main()
