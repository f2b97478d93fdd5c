# SPDX-License-Identifier: Apache-2.0
"""The benchmark measures every installed runtime in turn and writes JSON, tables and a plot."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from tiny import tiny_config
from torch import nn

from seqpose_core import threads
from seqpose_core.benchmark import stages
from seqpose_core.benchmark.__main__ import main
from seqpose_core.benchmark.stages import StageTimer
from seqpose_core.benchmark.timing import measure


@pytest.fixture(autouse=True)
def same_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    threads.set_threads(before)


def test_functions_are_measured_in_turn() -> None:
    calls: list[str] = []
    times = measure({name: lambda n=name: calls.append(n) for name in ("a", "b")}, repeats=2)  # type: ignore[misc]
    assert calls == ["a", "b"] * 4  # two of them warm up
    assert list(times) == ["a", "b"]


def test_time_of_a_nested_stage_is_not_part_of_the_outer_one(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(stages.time, "process_time", lambda: clock[0])

    class Work(nn.Module):
        def __init__(self, seconds: float, *inner: nn.Module) -> None:
            super().__init__()
            self.seconds, self.values = seconds, nn.ModuleList(inner)

        def forward(self) -> None:
            clock[0] += self.seconds
            for module in self.values:
                module()
            clock[0] += self.seconds

    model = nn.Module()
    model.fusion = Work(1.0, Work(0.25), Work(0.25))
    timer = StageTimer(model)  # type: ignore[arg-type]
    model.fusion()
    assert timer.take() == {"fusion": 2000.0, "value projections": 1000.0}
    timer.remove()
    model.fusion()
    assert timer.take() == {}


@pytest.mark.slow
def test_report_has_every_part_and_ratios_of_its_times(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (tmp_path / "tiny.yaml").write_text(tiny_config().to_yaml())
    out = tmp_path / "report.json"
    assert main(["--config", str(tmp_path / "tiny.yaml"), "--repeats", "1", "--out", str(out)]) == 0
    report = json.loads(out.read_text())
    assert (report["model"], report["machine"]["threads"]) == ("tiny", 1)
    table = out.with_suffix(".md").read_text()
    assert "eager" in report["runtimes"]
    for name, times in report["runtimes"].items():
        assert report["step_over_stock"][name] == pytest.approx(times["p50"] / report["stock"]["p50"], abs=1e-3)
        assert f"| step, {name} | {times['p50']} |" in table
    for name, times in report["floor"].items():
        ratio = report["runtimes"][name]["p50"] / times["p50"]
        assert report["step_over_floor"][name] == pytest.approx(ratio, abs=1e-3)
    for role in ("best", "default"):
        assert report["step_over_stock"][role] == report["step_over_stock"][report[role]]
    fastest = min(report["runtimes"].values(), key=lambda times: times["p50"])
    assert report["runtimes"][report["best"]] == fastest
    assert {"encoder and neck", "sampling", "value projections", "temporal attention"} <= set(report["stages"])
    scaling = {name: list(rows) for name, rows in report["scaling"].items()}
    assert scaling["queries"] == ["300", "600", "900", "1200"] and scaling["memory frames"] == ["0", "1", "3", "8"]
    assert {"image size", "batch", "threads"} < set(scaling)
    if not torch.cuda.is_available():
        assert "- cuda: not run (no CUDA device)" in table
    if find_spec("matplotlib") is not None:
        assert out.with_suffix(".png").read_bytes().startswith(b"\x89PNG")


def test_parts_can_be_restricted(tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(tiny_config().to_yaml())
    out = tmp_path / "report.json"
    arguments = ["--config", str(tmp_path / "tiny.yaml"), "--repeats", "1", "--parts", "stages"]
    assert main([*arguments, "--out", str(out)]) == 0
    report = json.loads(out.read_text())
    assert "stages" in report and not {"runtimes", "scaling", "step_over_stock"} & set(report)
