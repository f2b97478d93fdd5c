# SPDX-License-Identifier: Apache-2.0
"""``python -m train.overfit``: check that a network can overfit a few clips.

    python -m train.overfit --config config/train/nano.yaml --out out/overfit

Renders 4 clips of 6 frames (or reads ``--data``, a folder in the NOCS layout with a split "train"), trains on them
without augmentation and measures the recall within 5° and 5 cm on the same frames, with and without memory. Training
ends when both settings reach 95 %, or after ``--steps``. Writes curve.csv and curve.png; the exit status is 1 if the
recall was not reached.
"""

from __future__ import annotations

import csv
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning
import numpy as np
from lightning.pytorch.callbacks import Callback
from matplotlib.figure import Figure

from seqpose_core.command_line import command_parser
from seqpose_core.estimator import PoseEstimator
from seqpose_core.metrics.errors import match_detections
from seqpose_core.model.seqpose import SeqPose
from train.data.augment import NO_AUGMENTATION
from train.data.nocs_layout import NocsLayout
from train.data.sampler import Stage
from train.evaluate.result_files import result_of_frame
from train.fit.config import TrainConfig, load
from train.fit.module import SeqPoseModule
from train.fit.run import fit

SETTINGS = ("single", "multi")
_MIN_SCORE = 0.3  # the node's default score threshold


def recall(model: SeqPose, layout: NocsLayout, setting: str) -> float:
    """Percent of the objects of all frames that are detected within 5° and 5 cm.

    :param setting: whether the memory is reset before each frame (``single``) or each clip (``multi``).
    """
    device = str(next(model.parameters()).device)  # the estimator would move the model to its default device
    estimator = PoseEstimator(model, device=device, score_threshold=_MIN_SCORE)
    results: list[dict[str, Any]] = []
    for clip in range(len(layout.clips)):
        estimator.reset()
        for frame in layout.frames(clip):
            if setting == "single":
                estimator.reset()
            estimates = estimator.step(frame.image, frame.camera, frame.stamp)
            results.append(result_of_frame(frame, len(results), frame.name, estimates, estimator.categories))
    errors = match_detections(results, _MIN_SCORE, categories=estimator.categories)
    return 100.0 * float(np.mean(errors.within(5.0, 5.0)))


class RecallCurve(Callback):
    """Measures both settings every ``every`` steps, and stops training once both reach ``goal`` percent."""

    def __init__(self, layout: NocsLayout, every: int, goal: float) -> None:
        self.layout, self.every, self.goal = layout, every, goal
        self.rows: list[tuple[int, float, float]] = []

    def on_train_batch_end(self, trainer: lightning.Trainer, module: lightning.LightningModule, *_: Any) -> None:
        step = trainer.global_step
        if step % self.every and step < trainer.max_steps:
            return
        assert isinstance(module, SeqPoseModule)
        values = [recall(module.model, self.layout, setting) for setting in SETTINGS]
        module.train()
        self.rows.append((step, values[0], values[1]))
        print(
            f"\nstep {step}: recall within 5° and 5 cm: single {values[0]:.1f} %, multi {values[1]:.1f} %", flush=True
        )
        trainer.should_stop = trainer.should_stop or min(values) >= self.goal


def overfit(base: TrainConfig, data: Path, out: Path, steps: int, every: int, goal: float = 95.0) -> RecallCurve:
    """Train ``base``'s network on the split "train" of ``data`` until the goal or the last step.

    The first half of the steps trains on single frames, the second half on full clips.
    """
    layout = NocsLayout.open(data, "train", base.model.categories)
    frames = min(len(clip.frames) for clip in layout.clips)
    config = replace(
        base,
        init_from=None,
        init_parts=(),
        frozen_parts=(),
        data=replace(
            base.data,
            root=str(data),
            val=base.data.train,
            augmentation=replace(NO_AUGMENTATION, hide_pose=0.5),
            workers=0,
        ),
        # Averaged weights lag behind the current ones, which are measured here.
        optimizer=replace(base.optimizer, ema=0.0, weight_decay=0.0, warmup_steps=min(50, steps // 4)),
        stages=(Stage(steps // 2, 1, 8), Stage(steps, frames, 2)),
        val_every=steps,
        save_every=steps,
    )
    curve = RecallCurve(layout, every, goal)
    fit(config, out / "run", callbacks=[curve])
    return curve


def write_curve(out: Path, curve: RecallCurve) -> None:
    """Write ``out``/curve.csv and curve.png."""
    with (out / "curve.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("step", *SETTINGS), *curve.rows])
    figure = Figure(figsize=(6, 3.5), layout="constrained")
    axes = figure.subplots()
    steps, *values = zip(*curve.rows, strict=True)
    for setting, recalls in zip(SETTINGS, values, strict=True):
        axes.plot(steps, recalls, marker=".", label=f"{setting} frame")
    axes.axhline(curve.goal, color="grey", linestyle=":", linewidth=1)
    clips = curve.layout.clips
    axes.set(
        xlabel="training step",
        ylabel="recall within 5° and 5 cm, %",
        ylim=(0, 101),
        title=f"Overfitting {len(clips)} clips, {sum(len(c.frames) for c in clips)} frames",
    )
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    figure.savefig(out / "curve.png", dpi=110, metadata={"Software": None})


def main(arguments: Sequence[str] | None = None) -> None:
    parser = command_parser(__doc__)
    parser.add_argument("--config", type=Path, required=True, help="training configuration")
    parser.add_argument("--data", type=Path, help='folder in the NOCS layout with a split "train" (default: rendered)')
    parser.add_argument("--out", type=Path, default=Path("out/overfit"))
    parser.add_argument("--steps", type=int, default=1200, help="maximum number of steps (default: %(default)s)")
    parser.add_argument("--every", type=int, default=100, help="steps between measurements (default: %(default)s)")
    options = parser.parse_args(arguments)
    for name in ("steps", "every"):
        if getattr(options, name) < 2:
            parser.error(f"--{name} is {getattr(options, name)}; it must be at least 2")
    options.out.mkdir(parents=True, exist_ok=True)
    try:
        if (options.out / "run").exists():
            raise ValueError(f"{options.out} already holds a run; choose another --out")
        config = load(options.config)
        data = options.data or _render_clips(options.out / "data")
        curve = overfit(config, data, options.out, options.steps, options.every)
    except (ValueError, OSError) as error:
        sys.exit(f"overfit: {error}")
    write_curve(options.out, curve)
    step, *values = curve.rows[-1]
    reached = min(values) >= curve.goal
    print(f"{'reached' if reached else 'NOT reached'}: {values[0]:.1f} and {values[1]:.1f} % after {step} steps")
    print(f"written to {options.out}: curve.csv, curve.png")
    sys.exit(0 if reached else 1)


def _render_clips(out: Path) -> Path:
    """Render four clips of six frames, in a separate process because the renderer keeps a GL context."""
    command = [sys.executable, "-m", "train.render", "--split", "train", "--clips", "4", "--frames", "6"]
    subprocess.run([*command, "--seed", "4", "--size", "224x168", "--out", str(out)], check=True)
    return out


if __name__ == "__main__":
    main()
