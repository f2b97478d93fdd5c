# SPDX-License-Identifier: Apache-2.0
"""Markdown tables and a plot from the JSON report of the benchmark."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

_HEADER = ["| | CPU ms (p50) | p5 to p95 | / stock |", "|---|---|---|---|"]


def as_markdown(report: Mapping[str, Any]) -> str:
    """All parts of a report as tables."""
    machine = report["machine"]
    lines = [
        f"{report['model']}: {machine['processor']} ({machine['instructions']}), {machine['cores']} cores, "
        f"load average {machine['load']}, {machine['threads']} thread(s), {report['repeats']} repeats in turn",
        "",
    ]
    if "runtimes" in report:
        lines += [*_HEADER, _row("stock", report["stock"], report)]
        lines += [_row(f"encoder and neck, {name}", times, report) for name, times in report["floor"].items()]
        lines += [_row(f"step, {name}", times, report) for name, times in report["runtimes"].items()]
        lines += ["", *(f"- {line}" for line in report["not_run"])]
        lines += ["", "| | / stock | / its encoder and neck |", "|---|---|---|"]
        for role in ("default", "best"):
            over_floor = report["step_over_floor"].get(role, "–")
            lines.append(f"| step, {role}: {report[role]} | {report['step_over_stock'][role]} | {over_floor} |")
        lines += ["", "| resident memory | MB |", "|---|---|"]
        lines += [f"| {name} | {'–' if mb is None else mb} |" for name, mb in report["memory_mb"].items()]
    if "stages" in report:
        lines += ["", "| stage, eager | CPU ms |", "|---|---|"]
        lines += [f"| {name} | {ms} |" for name, ms in report["stages"].items()]
    for name, rows in report.get("scaling", {}).items():
        first = next(iter(rows.values()))
        lines += ["", f"| {name} | CPU ms (p50) | p5 to p95 | duration, ms | / first |", "|---|---|---|---|---|"]
        for key, t in rows.items():
            kind = "wall" if name == "threads" else "p50"
            lines.append(
                f"| {key} | {t['p50']} | {t['p5']} to {t['p95']} | {t['wall']} | {t[kind] / first[kind]:.2f} |"
            )
    return "\n".join(lines)


def _row(name: str, times: Mapping[str, float], report: Mapping[str, Any]) -> str:
    ratio = times["p50"] / report["stock"]["p50"]
    return f"| {name} | {times['p50']} | {times['p5']} to {times['p95']} | {ratio:.3f} |"


def write_plot(report: Mapping[str, Any], file: Path) -> None:
    """Bars of the step in each runtime over stock, and curves of the scaling."""
    from matplotlib.figure import Figure

    scaling = report.get("scaling", {})
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    axes = figure.subplots(1, 2)
    if "runtimes" in report:
        names = list(report["runtimes"])
        stock = report["stock"]["p50"]
        axes[0].barh(names, [report["runtimes"][n]["p50"] / stock for n in names], color="#0072b2", label="step")
        floors = [n for n in names if n in report["floor"]]
        axes[0].barh(
            floors, [report["floor"][n]["p50"] / stock for n in floors], 0.4, color="#56b4e9", label="encoder and neck"
        )
        axes[0].legend(frameon=False)
    axes[0].set_xlabel("CPU time / stock Depth Anything V2 Small")
    axes[0].set_title(report["model"])
    for (name, rows), marker in zip(scaling.items(), "osD^v", strict=False):
        kind = "wall" if name == "threads" else "p50"
        values = [t[kind] for t in rows.values()]
        axes[1].plot(
            range(len(values)), [v / values[0] for v in values], marker=marker, label=f"{name}: {', '.join(rows)}"
        )
    axes[1].set_xticks([])
    axes[1].set_ylabel("time / that of the first")
    axes[1].set_ylim(bottom=0)
    if scaling:
        axes[1].legend(frameon=False, fontsize=7)
    figure.savefig(file, dpi=110)
