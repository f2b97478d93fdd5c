# SPDX-License-Identifier: Apache-2.0
"""The benchmark measures every installed runtime in turn and writes JSON and a table."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from tiny import tiny_config

from seqpose_core import threads
from seqpose_core.benchmark import main, measure


def test_functions_are_measured_in_turn() -> None:
    calls: list[str] = []
    times = measure({name: lambda n=name: calls.append(n) for name in ("a", "b")}, repeats=2)  # type: ignore[misc]
    assert calls == ["a", "b"] * 5  # three of them warm up
    assert list(times) == ["a", "b"]


@pytest.mark.slow
def test_report_has_the_step_of_every_runtime_over_stock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (tmp_path / "tiny.yaml").write_text(tiny_config().to_yaml())
    out, before = tmp_path / "report.json", torch.get_num_threads()
    try:
        assert main(["--config", str(tmp_path / "tiny.yaml"), "--repeats", "1", "--out", str(out)]) == 0
    finally:
        threads.set_threads(before)
    report = json.loads(out.read_text())
    assert (report["model"], report["threads"]) == ("tiny", 1)
    assert "eager" in report["runtimes"]
    for name, times in report["runtimes"].items():
        ratio = times["p50"] / report["stock_ms"]["p50"]
        assert report["step_over_stock"][name] == pytest.approx(ratio, abs=1e-3)
        assert f"| step, {name} | {times['p50']} |" in out.with_suffix(".md").read_text()
