# SPDX-License-Identifier: Apache-2.0
"""The model card of a recipe's checkpoint, from the files of the run."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from seqpose_core import checkpoint
from seqpose_core.model.seqpose import SeqPose
from train.data.atomic_file import atomic_write_text
from train.recipe.budget import State
from train.render.splits import BENCHMARKS

RECALLS = ("10cm", "10°10cm", "5°5cm")
AP_COLUMNS = ("IoU25", "IoU50", "10cm", "10°", "10°10cm", "5°5cm")

_HEAD = Path(__file__).with_name("card.md").read_text(encoding="utf-8")


def write_card(state: State, out: Path) -> Path:
    """Write OUT/model/README.md from the state and OUT/evaluation; returns its path."""
    model = checkpoint.load(out / "model")
    config, recipe = model.config, state.recipe
    sections = [
        _HEAD.format(
            name=out.resolve().name,
            parameters=sum(parameter.numel() for parameter in model.parameters()) / 1e6,
            width=config.image_width,
            height=config.image_height,
            frames=config.memory.frames,
            top_k=config.memory.top_k,
            clips=state.clips or 0,
            clip_frames=recipe.frames,
            assets="" if recipe.assets is None else " with HDR environments (`train.render.assets`)",
            steps=state.steps or 0,
            batch=recipe.batch,
            seen=(state.steps or 0) * recipe.batch,
            hours=", ".join(f"{phase} {seconds / 3600:.1f} h" for phase, seconds in vars(state.spent).items()),
            hardware=hardware(model),
            budget=recipe.hours,
            benchmark=recipe.benchmark,
        )
    ]
    for part in BENCHMARKS[recipe.benchmark]:
        metrics = json.loads((out / "evaluation" / part.split / "metrics.json").read_text(encoding="utf-8"))
        sections.append(split_section(part.split, part.clips * part.frames, metrics))
    path = out / "model" / "README.md"
    atomic_write_text(path, "\n".join(sections))
    return path


def hardware(model: SeqPose) -> str:
    """The machine that this process runs on."""
    if torch.cuda.is_available():
        return f"{torch.cuda.get_device_name()}, {os.cpu_count()} CPU cores"
    return f"{platform.machine()}, {os.cpu_count()} CPU cores"


def split_section(split: str, frames: int, metrics: Mapping[str, Any]) -> str:
    """Recall, precision and average precision of one split as Markdown."""
    lines = [f"## {split}: {frames} frames", ""]
    detections = metrics["detections"]
    if not any(run["all"]["ground_truths"] for run in detections.values()):
        lines += ["| frames | false positives per frame |", "|---|---|"]
        lines += [f"| {name} | {run['all']['false_positives'] / frames:.3f} |" for name, run in detections.items()]
        return "\n".join([*lines, ""])
    lines += [
        "Recall over all visible objects in percent, and median errors of the detected ones; "
        "scores above the checkpoint's thresholds:",
        "",
        "| | " + " | ".join(RECALLS) + " | median rotation | median translation | false positives per frame |",
        "|" + "---|" * (len(RECALLS) + 4),
    ]
    for name, run in detections.items():
        for category, values in run.items():
            if not values["ground_truths"]:
                continue
            recalls = " | ".join(f"{values['recall_percent'][column]:.1f}" for column in RECALLS)
            title = name if category == "all" else f"{name}, {category}"
            lines.append(
                f"| {title} | {recalls} | {_number(values['median_degrees'])}° | "
                f"{_number(values['median_centimetres'])} cm | {values['false_positives'] / frames:.2f} |"
            )
    lines += ["", "Average precision over all scores, missed objects counted (IoU kind oriented), %:", ""]
    lines += ["| | " + " | ".join(AP_COLUMNS) + " |", "|" + "---|" * (len(AP_COLUMNS) + 1)]
    for name, report in metrics["ap"].items():
        if report["iou_kind"] == "oriented":
            mean = report["ap_percent"]["mean"]
            lines.append(f"| {name} | " + " | ".join(_number(mean[column]) for column in AP_COLUMNS) + " |")
    return "\n".join([*lines, ""])


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}"
