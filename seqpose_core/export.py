# SPDX-License-Identifier: Apache-2.0
"""``python -m seqpose_core.export``: write the network of a checkpoint for OpenVINO or ONNX Runtime.

The folder is loaded as a checkpoint is: ``PoseEstimator.from_pretrained(folder)``.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from seqpose_core.command_line import command_parser
from seqpose_core.runtime.exported import Format, export, open_exported
from seqpose_core.runtime.network import Network


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    parser = command_parser(__doc__)
    parser.add_argument("--checkpoint", default="seqpose-lite2", help="bundled name, folder or file (%(default)s)")
    parser.add_argument("--runtime", choices=get_args(Format), required=True)
    parser.add_argument("--out", type=Path, required=True, help="folder to write; an export in it is replaced")
    parser.add_argument("--memory-frames", type=int, help="past frames in the memory (default: as trained)")
    parser.add_argument(
        "--precision", choices=("fp32", "int8"), default="fp32", help="int8: openvino only (%(default)s)"
    )
    parser.add_argument("--calibration", type=Path, help="for int8: folder of clips of train.render --split train")
    options = parser.parse_args(arguments)
    if (options.precision == "int8") != (options.calibration is not None):
        parser.error("--precision int8 and --calibration FOLDER need each other")
    try:
        network = Network.of_checkpoint(options.checkpoint, options.memory_frames)
        folder = export(network.build(), options.runtime, options.out, options.calibration)
        open_exported(folder)
    except (OSError, ValueError) as error:
        print(f"seqpose_core.export: {error}", file=sys.stderr)
        return 1
    print(f"{folder}: agrees with eager torch on the bundled frames")
    return 0


if __name__ == "__main__":
    sys.exit(main())
