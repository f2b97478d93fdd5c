# SPDX-License-Identifier: Apache-2.0
"""``python -m train.check``: check data, weights and machine before a long training run.

    python -m train.check --config config/train/real275.yaml --data /data/nocs

Opens every training and validation set; reads frames evenly spaced through it and counts broken ones; compares NOCS
map, depth and pose of every object; measures the reading speed; loads the initial weights; trains a few steps of
every stage and estimates memory and hours. Prints one report; the exit status is 1 if it contains an error.
"""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from seqpose_core.command_line import command_parser
from train.check.data_set import check_set
from train.check.finding import Finding, format_report
from train.check.run_cost import check_steps, check_weights
from train.command_line import check_at_least_one, load_config
from train.data.nocs_sets import open_layout
from train.fit.config import TrainConfig


def check(config: TrainConfig, frames: int, steps: int, allow_download: bool = False) -> list[Finding]:
    """All findings. The network is checked only if the data can be read.

    :param frames: to read of each set; 0 = all. :param steps: training steps that are timed per stage; 0 = none.
    """
    findings = _guarded("data", _check_data(config, frames))
    if not any(finding.level == "error" for finding in findings):
        findings += _guarded("weights", check_weights(config, allow_download))
        if steps:
            findings += _guarded("training step", check_steps(config, steps))
    return findings


def _check_data(config: TrainConfig, frames: int) -> Iterator[Finding]:
    for part in dict.fromkeys((*config.data.train, *config.data.val)):
        training = part in config.data.train
        motion = training and config.data.camera_motion == "labels"
        root = part.root or config.data.root
        name = f"{part.split} ({'training' if training else 'validation'})"
        if training and part in config.data.val:
            yield Finding("warning", name, "is also a validation set, whose figures then show what was trained on")
        try:
            cache = Path(config.data.aligned_cache)
            layout = open_layout(root, part.split, part.labels, motion, config.model.categories, cache)
        except (ValueError, OSError) as error:
            yield Finding("error", f"{name}: layout", str(error))
            continue
        yield from check_set(layout, name, frames, config.model.categories)


def _guarded(subject: str, findings: Iterator[Finding]) -> list[Finding]:
    """The findings; an exception that would end a run is the last one."""
    found: list[Finding] = []
    try:
        found.extend(findings)
    except torch.OutOfMemoryError as error:
        found.append(Finding("error", subject, f"the memory of the GPU is too small: {str(error).splitlines()[0]}"))
    except (ValueError, OSError, RuntimeError) as error:
        found.append(Finding("error", subject, str(error)))
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command."""
    parser = command_parser(__doc__)
    parser.add_argument("--config", type=Path, required=True, help="training configuration, YAML")
    parser.add_argument("--data", help="folder in the NOCS layout; overrides data.root")
    parser.add_argument("--frames", type=int, default=300, help="frames to read of each set, 0: all (default: 300)")
    parser.add_argument("--steps", type=int, default=5, help="steps to time per stage, 0: none (default: 5)")
    parser.add_argument("--devices", type=int, help="processes of the run; overrides compute.devices")
    parser.add_argument("--download", action="store_true", help="download encoder.pretrained if it is not cached")
    options = parser.parse_args(arguments)
    check_at_least_one(parser, options, "devices")
    for name in ("frames", "steps"):
        if getattr(options, name) < 0:
            parser.error(f"--{name} is {getattr(options, name)}; it must be at least 0")
    config = load_config(parser, options)
    if options.devices:
        config = replace(config, compute=replace(config.compute, devices=options.devices))
    warnings.filterwarnings("ignore", module="lightning")
    for name in ("lightning.pytorch", "train.data.layout"):  # broken frames are in the report
        logging.getLogger(name).setLevel(logging.ERROR)
    findings = check(config, options.frames, options.steps, options.download)
    print(format_report(findings))
    sys.exit(any(finding.level == "error" for finding in findings))


if __name__ == "__main__":
    main()
