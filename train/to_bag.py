# SPDX-License-Identifier: Apache-2.0
"""``python -m train.to_bag``: convert a clip in the NOCS layout to a ROS 2 bag (MCAP).

    python -m train.to_bag out/data/val/00000 --out out/bag
    python -m train.to_bag NOCS/real/test/scene_1 --out out/scene_1

Topics: /camera/image_raw/compressed and /camera/camera_info, /tf with world -> camera_optical_frame, and the
ground truth as vision_msgs/Detection3DArray on /truth/detections.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rosbags.rosbag2 import StoragePlugin, Writer

from seqpose_core import CATEGORIES, Category, SeqPoseConfig
from seqpose_core.command_line import command_parser
from train.bag_messages import FrameWriter
from train.data import BrokenFrameError, Frame, NocsLayout
from train.data.layout import Layout
from train.data.model_sizes import ModelSizes
from train.data.nocs_sets import NOCS_SPLITS, open_layout, split_of_folder

EPOCH = 1_700_000_000  # seconds added to all stamps: clips start at 0, which tf interprets as "the latest"


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
    :param categories: of the class ids in the labels; scenes of NOCS always have its six.
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
    stamped = (scene / "camera_poses.txt").is_file()
    skipped: dict[str, str] = {}
    count, last = 0, -1
    with Writer(out, version=9, storage_plugin=StoragePlugin.MCAP) as bag:
        writer = FrameWriter(bag, jpeg_quality)
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
            writer.write(frame, stamp)
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
    parser = command_parser(__doc__)
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
