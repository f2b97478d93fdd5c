# SPDX-License-Identifier: Apache-2.0
"""``python -m train.export``: write a checkpoint folder from the last state of a run (its averaged weights).

python -m train.export out/fit/lite2 --out seqpose_core/checkpoints/seqpose-lite2 --half
"""

from __future__ import annotations

from pathlib import Path

import torch
import yaml

from seqpose_core import checkpoint, config_io
from seqpose_core.command_line import command_parser
from seqpose_core.model.config import SeqPoseConfig
from seqpose_core.model.seqpose import SeqPose

_MODEL = "model."  # prefix of the network's weights in train.fit.module.SeqPoseModule


def export(run: Path, out: Path, dtype: torch.dtype = torch.float32) -> int:
    """Write the model of ``run``/last.ckpt to ``out``; returns its training step.

    :raises FileNotFoundError: if the run has no last.ckpt.
    """
    state = torch.load(run / "last.ckpt", map_location="cpu", weights_only=True)
    # Only the model is read, so that runs with other training settings can be exported.
    settings = yaml.safe_load((run / "train.yaml").read_text(encoding="utf-8"))
    model = SeqPose(config_io.from_dict(SeqPoseConfig, settings["model"], "model"))
    weights = {k.removeprefix(_MODEL): v for k, v in state["state_dict"].items() if k.startswith(_MODEL)}
    model.load_state_dict(weights)
    checkpoint.save(model, out, dtype)
    return int(state["global_step"])


def main() -> None:
    parser = command_parser(__doc__)
    parser.add_argument("run", type=Path, help="folder of the run, train.fit's --out")
    parser.add_argument("--out", type=Path, required=True, help="checkpoint folder to write")
    parser.add_argument("--half", action="store_true", help="store 16-bit weights: half the size")
    arguments = parser.parse_args()
    step = export(arguments.run, arguments.out, torch.float16 if arguments.half else torch.float32)
    print(f"{arguments.out}: weights of step {step}")


if __name__ == "__main__":
    main()
