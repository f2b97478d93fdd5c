# SPDX-License-Identifier: Apache-2.0
"""Figures of the benchmark: lift success, causes of failure, success against position error, per source of poses."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from seqpose_core.categories import CATEGORY_NAMES
from train.data.atomic_file import atomic_write_text
from train.grasp.trial import CAUSES

_ERROR_BINS = (0.5, 1.0, 2.0, 3.0, 5.0, 10.0)  # upper edges, cm
_TITLES = {"true_pose": "true pose", "plane": "RGB and known support plane", "raw": "RGB only"}


def _percent(attempts: Sequence[dict[str, Any]]) -> float | None:
    """Share of successes, percent; None without attempts."""
    return round(100 * sum(a["success"] for a in attempts) / len(attempts), 1) if attempts else None


def _by_error(attempts: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Success of executed grasps in bins of the position error."""
    known = [a for a in attempts if a["position_error_cm"] is not None]
    rows, low = [], 0.0
    for high in (*_ERROR_BINS, float("inf")):
        chosen = [a for a in known if low <= a["position_error_cm"] < high]
        edge = None if high == float("inf") else high
        rows.append({"from_cm": low, "to_cm": edge, "attempts": len(chosen), "lift_percent": _percent(chosen)})
        low = high
    return rows


def summarise(records: Sequence[dict[str, Any]], sources: Sequence[str]) -> dict[str, Any]:
    """The report of scene records (train.grasp.trial.as_record).

    An attempt is one object that has a grasp at its true pose; all sources of poses have the same attempts, so an
    object that was not detected, or whose estimated pose has no feasible grasp, counts as a failure. ``infeasible``:
    objects without a grasp at their true pose, which are not attempted.
    """
    attempts = {source: [a for r in records for a in r["attempts"] if a["source"] == source] for source in sources}
    groups = ("all", *CATEGORY_NAMES)
    infeasible = Counter(r["objects"][i].split("_")[0] for r in records for i in r["infeasible"])

    def of(source: str, group: str) -> list[dict[str, Any]]:
        return [a for a in attempts[source] if group in ("all", a["category"])]

    return {
        "scenes": len(records),
        "attempts": {group: max((len(of(source, group)) for source in sources), default=0) for group in groups},
        "infeasible": {group: infeasible.total() if group == "all" else infeasible[group] for group in groups},
        "lift_percent": {source: {group: _percent(of(source, group)) for group in groups} for source in sources},
        "causes": {
            source: {group: {c: sum(a["cause"] == c for a in of(source, group)) for c in CAUSES} for group in groups}
            for source in sources
        },
        "lift_percent_by_position_error": {
            source: _by_error(attempts[source]) for source in sources if source != "true_pose"
        },
    }


def _cell(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"


def table(report: dict[str, Any]) -> str:
    """The report as Markdown: lift success per category, causes of failure, success against position error."""
    sources = list(report["lift_percent"])
    groups = list(report["attempts"])
    titles = [_TITLES[source] for source in sources]
    lines = [
        f"{report['scenes']} scenes, {report['attempts']['all']} attempts; "
        f"{report['infeasible']['all']} objects have no feasible grasp at their true pose and are not attempted.",
        "",
        "Lifted by at least 10 cm, percent:",
        "",
        "| category | attempts | " + " | ".join(titles) + " | no feasible grasp |",
        "|---" * (len(sources) + 3) + "|",
    ]
    for group in groups:
        cells = [_cell(report["lift_percent"][source][group]) for source in sources]
        lines.append(f"| {group} | {report['attempts'][group]} | {' | '.join(cells)} | {report['infeasible'][group]} |")
    lines += ["", "Causes of failure, attempts:", "", "| cause | " + " | ".join(titles) + " |"]
    lines.append("|---" * (len(sources) + 1) + "|")
    for cause in CAUSES:
        counts = [str(report["causes"][source]["all"][cause]) for source in sources]
        lines.append(f"| {cause.replace('_', ' ')} | {' | '.join(counts)} |")
    for source, rows in report["lift_percent_by_position_error"].items():
        lines += [
            "",
            f"Executed grasps by position error, {_TITLES[source]}:",
            "",
            "| error, cm | attempts | lifted, % |",
        ]
        lines.append("|---|---|---|")
        for row in rows:
            upper = "" if row["to_cm"] is None else f"{row['to_cm']:g}"
            lines.append(f"| {row['from_cm']:g} – {upper} | {row['attempts']} | {_cell(row['lift_percent'])} |")
    return "\n".join(lines) + "\n"


def write_report(out: Path, report: dict[str, Any]) -> None:
    """Write report.json and report.md to ``out``."""
    atomic_write_text(out / "report.json", json.dumps(report, indent=1) + "\n")
    atomic_write_text(out / "report.md", table(report))
