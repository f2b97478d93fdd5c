# SPDX-License-Identifier: Apache-2.0
"""Compare an engine with eager torch on the bundled frames, before it is used."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from seqpose_core.preprocessing import fit_image
from seqpose_core.runtime.engine import Engine, EngineMismatchError, StepArrays
from seqpose_core.samples import sample_frames
from seqpose_core.stream_memory import StreamMemory

if TYPE_CHECKING:
    from seqpose_core.model.seqpose import SeqPose

FRAMES = 2  # the second one has a memory
#: By precision, the largest allowed differences of the probabilities, position (m), rotation matrix and size (m) of a
#: query. The limits of bfloat16, which has 8 significant bits, and of int8 are exceeded by wrong results only.
_TOLERANCES = {
    "fp32": {"logits": 1e-3, "translation": 1e-3, "rotation": 5e-3, "size": 1e-3},
    "bf16": {"logits": 0.2, "translation": 0.1, "rotation": 0.5, "size": 0.05},
    "int8": {"logits": 0.3, "translation": 0.2, "rotation": 0.7, "size": 0.05},
}
_COMPARED = 5  # objects per frame, best score first


def record_sample(model: SeqPose) -> dict[str, np.ndarray]:
    """Run the model on the first bundled frames in eager torch on the CPU, and record its inputs and outputs.

    :return: arrays by ``<frame>.<name>``, names of :class:`StepArrays` and of the outputs.
    """
    from seqpose_core.runtime.torch_engine import TorchEngine

    config, engine = model.config, TorchEngine(model, "cpu")
    memory = StreamMemory(config.memory.frames * config.memory.top_k, config.decoder.width)
    recorded: dict[str, np.ndarray] = {}
    for index, (image, camera, stamp) in zip(range(FRAMES), sample_frames(), strict=False):
        pixels, intrinsics = fit_image(image, camera, config.image_width, config.image_height)
        inputs = {"image": pixels, "intrinsics": intrinsics, **memory.inputs(stamp, None)}
        step = StepArrays(**{name: array[None] for name, array in inputs.items()})
        outputs = engine(step)
        memory.push({name: array[0] for name, array in outputs.items()}, stamp, None)
        recorded |= {f"{index}.{name}": np.array(array) for name, array in {**step._asdict(), **outputs}.items()}
    return recorded


def recorded_step(recorded: Mapping[str, np.ndarray], frame: int) -> StepArrays:
    """The inputs of one recorded step."""
    return StepArrays(*(recorded[f"{frame}.{name}"] for name in StepArrays._fields))


def check_engine(engine: Engine, recorded: Mapping[str, np.ndarray], name: str, precision: str) -> None:
    """Compare the objects that an engine predicts with those recorded in eager torch.

    :param name: of the runtime, for the message.
    :raises EngineMismatchError: naming the first value that differs by more than its tolerance.
    """
    for frame in range(FRAMES):
        outputs = engine(recorded_step(recorded, frame))
        logits = recorded[f"{frame}.logits"][0]
        best = np.argsort(-logits.max(-1), kind="stable")[:_COMPARED]
        # In low precision the queries can be ordered differently: each object is compared with the nearest one.
        order = best if precision == "fp32" else _nearest(recorded, frame, best, outputs["translation"][0])
        for field, tolerance in _TOLERANCES[precision].items():
            expected, value = recorded[f"{frame}.{field}"][0, best], outputs[field][0]
            if field == "logits":
                expected, value = _sigmoid(expected), _sigmoid(value)
            difference = float(np.abs(value[order] - expected).max())
            if not difference <= tolerance:  # also if it is NaN
                raise EngineMismatchError(
                    f"runtime {name} in {precision} is not used: its {field} of frame {frame} of the bundled sample "
                    f"differs by {difference:.3g} from eager torch; at most {tolerance} is allowed"
                )


def _sigmoid(logits: np.ndarray) -> np.ndarray:
    return np.exp(-np.logaddexp(0.0, -logits.astype(np.float64)))


def _nearest(recorded: Mapping[str, np.ndarray], frame: int, best: np.ndarray, translation: np.ndarray) -> np.ndarray:
    offset = recorded[f"{frame}.translation"][0, best][:, None] - translation
    return np.linalg.norm(offset, axis=-1).argmin(1)
