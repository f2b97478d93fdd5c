# SPDX-License-Identifier: Apache-2.0
"""Compare an engine with eager torch on the bundled frames, each time an engine is loaded."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from seqpose_core.model.memory import FrameMotion
from seqpose_core.model.seqpose import SeqPose
from seqpose_core.model.step_graph import (
    StepGraph,
    StepInput,
    empty_memory,
    output_names,
    split_outputs,
)
from seqpose_core.preprocessing import fit_image
from seqpose_core.runtime.engine import Engine, EngineMismatchError
from seqpose_core.samples import sample_frames

FRAMES = 2  # the second one has a memory
#: By precision, the largest allowed differences of the probabilities, position (m), rotation matrix and size (m) of a
#: query. The limits of bfloat16, which has 8 significant bits, are exceeded by wrong results only.
_TOLERANCES = {
    "fp32": {"logits": 1e-3, "translation": 1e-3, "rotation": 5e-3, "size": 1e-3},
    "bf16": {"logits": 0.2, "translation": 0.1, "rotation": 0.5, "size": 0.05},
}
_COMPARED = 5  # objects per frame, best score first


@torch.inference_mode()
def record_sample(model: SeqPose) -> dict[str, Tensor]:
    """Run the model on the first bundled frames in eager torch on the CPU, and record its inputs and outputs.

    :return: tensors by ``<frame>.<name>``, names of :class:`StepInput` and :func:`output_names`.
    """
    config, graph = model.config, StepGraph(model).eval()
    memory = empty_memory(config)
    recorded: dict[str, Tensor] = {}
    for index, (image, camera, stamp) in zip(range(FRAMES), sample_frames(), strict=False):
        pixels, intrinsics = fit_image(image, camera, config.image_width, config.image_height)
        frame = FrameMotion.from_optional(None, torch.tensor([stamp], dtype=torch.float64), memory)
        step = StepInput.of_frame(torch.from_numpy(pixels)[None], torch.from_numpy(intrinsics)[None], memory, frame)
        outputs = graph(*step)
        memory = memory.push(split_outputs(config, outputs)[1], frame)
        named = {**step._asdict(), **dict(zip(output_names(config), outputs, strict=True))}
        recorded |= {f"{index}.{name}": tensor.contiguous().clone() for name, tensor in named.items()}
    return recorded


def recorded_step(recorded: Mapping[str, Tensor], frame: int) -> StepInput:
    """The inputs of one recorded step."""
    return StepInput(*(recorded[f"{frame}.{name}"] for name in StepInput._fields))


def check_engine(engine: Engine, recorded: Mapping[str, Tensor], name: str, precision: str) -> None:
    """Compare the objects that an engine predicts with those recorded in eager torch.

    :param name: of the runtime, for the message.
    :raises EngineMismatchError: naming the first value that differs by more than its tolerance.
    """
    for frame in range(FRAMES):
        step = StepInput(*(tensor.to(engine.device) for tensor in recorded_step(recorded, frame)))
        objects, _ = engine(step)
        logits = recorded[f"{frame}.logits"]
        best = logits.amax(-1).topk(min(_COMPARED, logits.shape[1]), dim=1).indices[0]
        for field, tolerance in _TOLERANCES[precision].items():
            expected, value = recorded[f"{frame}.{field}"][0, best], getattr(objects, field).cpu()[0]
            if field == "logits":
                expected, value = expected.sigmoid(), value.sigmoid()
            # bfloat16 may order the queries differently: each object is compared with the nearest one.
            order = best if precision == "fp32" else _nearest(recorded, frame, best, objects.translation.cpu()[0])
            difference = float((value[order] - expected).abs().max())
            if not difference <= tolerance:  # also if it is NaN
                raise EngineMismatchError(
                    f"runtime {name} in {precision} is not used: its {field} of frame {frame} of the bundled sample "
                    f"differs by {difference:.3g} from eager torch; at most {tolerance} is allowed"
                )


def _nearest(recorded: Mapping[str, Tensor], frame: int, best: Tensor, translation: Tensor) -> Tensor:
    return torch.cdist(recorded[f"{frame}.translation"][0, best], translation).argmin(1)
