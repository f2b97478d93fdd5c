# SPDX-License-Identifier: Apache-2.0
"""``python -m train.fit``: train a SeqPose model; the same command resumes an interrupted run.

    python -m train.fit --config config/train/lite.yaml --out out/fit/lite
    torchrun --nproc-per-node 4 -m train.fit --config config/train/real275.yaml --data /data/nocs --download

Run it again with the same ``--out`` to resume from the last checkpoint. The best model so far is written to OUT/best,
which ``PoseEstimator.from_pretrained`` reads. See docs/training.md.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException

from seqpose_core import config_io
from seqpose_core.command_line import command_parser
from seqpose_core.weights import CheckpointError
from train.command_line import check_at_least_one, load_config
from train.data.clips import UnreadableDataError
from train.fit.config import expand_encoder_size
from train.fit.run import fit


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command; invalid input ends it with one message."""
    parser = command_parser(__doc__)
    parser.add_argument(
        "--config", type=Path, required=True, help="training configuration, such as config/train/lite.yaml"
    )
    parser.add_argument("--out", type=Path, help="folder for logs and checkpoints (default: out/fit/<config name>)")
    parser.add_argument("--data", help="root of the data sets in the NOCS layout; overrides data.root")
    parser.add_argument("--devices", type=int, help="processes on this machine; overrides compute.devices")
    parser.add_argument("--hours", type=float, help="save the state and stop after this time")
    parser.add_argument("--threads", type=int, help="CPU threads of torch in each process")
    parser.add_argument("--download", action="store_true", help="download encoder.pretrained if it is not cached")
    parser.add_argument("--print-config", action="store_true", help="print the full configuration and exit")
    options = parser.parse_args(arguments)
    check_at_least_one(parser, options, "devices", "threads")
    config = load_config(parser, options)
    if options.devices:
        config = replace(config, compute=replace(config.compute, devices=options.devices))
    if options.print_config:
        print(config_io.dump_yaml(expand_encoder_size(config)), end="")
        return
    if options.threads:
        torch.set_num_threads(options.threads)
    # One loader process is enough here, as measured; Lightning warns that it is few.
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    out = options.out or Path("out/fit") / options.config.stem
    try:
        fit(config, out, options.hours, allow_download=options.download)
    except (config_io.ConfigError, CheckpointError, OSError, MisconfigurationException) as error:
        sys.exit(f"fit: {error}")
    except UnreadableDataError as error:  # a loader process puts its traceback before the message
        sys.exit(f"fit: {str(error).rpartition('UnreadableDataError: ')[2].strip()}")


if __name__ == "__main__":
    main()
