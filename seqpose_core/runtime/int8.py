# SPDX-License-Identifier: Apache-2.0
"""Post-training quantization of an OpenVINO export to int8 by NNCF: the encoder only, the decoder stays in float32."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from seqpose_core.camera import Camera
from seqpose_core.preprocessing import fit_image
from seqpose_core.runtime import openvino
from seqpose_core.runtime.engine import RuntimeUnavailableError, StepArrays
from seqpose_core.stream_memory import StreamMemory

if TYPE_CHECKING:
    from seqpose_core.model.seqpose import SeqPose

#: Frames that the ranges of the activations are taken from.
CALIBRATION_FRAMES = 300
_NOT_FOR_CALIBRATION = ("val", "test", "real_test", "camera_val")


def quantize(model: SeqPose, calibration: Path, folder: Path) -> None:
    """Replace ``folder``/step.xml and step.bin by a model whose encoder is quantized.

    :param calibration: folder of training clips, see :func:`calibration_steps`.
    :raises RuntimeUnavailableError: if NNCF is missing.
    :raises ValueError: if the clips cannot be used.
    """
    core = openvino.import_openvino().Core()  # before NNCF: without telemetry
    try:
        import nncf
    except ImportError as error:
        raise RuntimeUnavailableError(f"int8 needs the package nncf ({error}): pip install 'seqpose[int8]'") from error
    path = folder / openvino.FILE
    exported = core.read_model(path)
    calibrating = islice(calibration_steps(model, calibration), CALIBRATION_FRAMES)
    steps = [list(step)[: len(exported.inputs)] for step in calibrating]
    quantized = nncf.quantize(
        exported,
        nncf.Dataset(steps),
        subset_size=len(steps),
        # Everything but the encoder: a rounded reference point or pose is an error in millimetres.
        ignored_scope=nncf.IgnoredScope(patterns=[r"^(?!.*model\.encoder\.).*"], validate=False),
    )
    # The file that the model was read from is mapped into memory: it is replaced, not overwritten.
    temporary = folder / "quantized.xml"
    openvino.import_openvino().save_model(quantized, temporary, compress_to_fp16=False)
    for suffix in (".xml", ".bin"):
        temporary.with_suffix(suffix).replace(path.with_suffix(suffix))


def calibration_steps(model: SeqPose, folder: Path) -> Iterator[StepArrays]:
    """Inputs of the network for the frames of training clips, with the memory that eager torch gives.

    :param folder: clips as ``python -m train.render --split train`` writes them: a folder per clip with
        intrinsics.txt and <frame>_color.png.
    :raises ValueError: if there is no clip, or the folder is a validation or test split.
    """
    from seqpose_core.runtime.torch_engine import TorchEngine

    folder = folder.expanduser().resolve()
    if folder.name in _NOT_FOR_CALIBRATION:
        raise ValueError(f"{folder} is a validation or test split; int8 is calibrated on training clips")
    clips = sorted(path.parent for path in folder.glob("*/intrinsics.txt"))
    if not clips:
        raise ValueError(f"{folder} has no clips, folders with intrinsics.txt and <frame>_color.png")
    engine, config = TorchEngine(model, "cpu"), model.config
    for clip in clips:
        memory = StreamMemory(config.memory.frames * config.memory.top_k, config.decoder.width)
        for index, (image, camera) in enumerate(_frames(clip)):
            pixels, intrinsics = fit_image(image, camera, config.image_width, config.image_height)
            stamp = 0.1 * index
            inputs = {"image": pixels, "intrinsics": intrinsics, **memory.inputs(stamp, None)}
            step = StepArrays(**{name: array[None] for name, array in inputs.items()})
            yield step
            memory.push({name: array[0] for name, array in engine(step).items()}, stamp, None)


def _frames(clip: Path) -> Iterator[tuple[np.ndarray, Camera]]:
    """Images (H, W, 3) uint8 RGB of a clip with their camera."""
    matrix: Sequence[Sequence[float]] = np.loadtxt(clip / "intrinsics.txt").tolist()
    for path in sorted(clip.glob("*_color.png")):
        image = cv2.imread(str(path), cv2.IMREAD_COLOR)
        if image is None:
            raise ValueError(f"{path} cannot be decoded as an image")
        height, width = image.shape[:2]
        camera = Camera(matrix[0][0], matrix[1][1], matrix[0][2], matrix[1][2], width, height)
        yield cv2.cvtColor(image, cv2.COLOR_BGR2RGB), camera
