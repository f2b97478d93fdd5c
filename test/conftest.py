# SPDX-License-Identifier: Apache-2.0
"""Shared fixtures: a small bag, random weights, evaluate_bag run on a bag, and a blocked network."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="session", autouse=True)
def cache_of_exports(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The user's cache of exported networks is a temporary folder, for the processes that tests start as well."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("cache")
        patch.setenv("XDG_CACHE_HOME", str(folder))
        yield folder


@pytest.fixture(scope="session")
def bag_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bag of bag_rig's clip; read only."""
    from bag_rig import write_clip

    from train.to_bag import write_bag

    root = tmp_path_factory.mktemp("clip")
    write_bag(write_clip(root), root / "bag")
    return root / "bag"


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of the tiny model with random weights."""
    from tiny import tiny_model

    from seqpose_core import checkpoint

    return checkpoint.save(tiny_model(), tmp_path_factory.mktemp("weights"))


@pytest.fixture
def evaluate(weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    """Runs evaluate_bag on a bag; returns exit status, stderr and report."""
    from seqpose_ros.evaluate_bag import main

    def run(bag: Path, *options: str) -> tuple[int, str, dict[str, Any]]:
        out = tmp_path / "out"
        status = main([str(bag), "--checkpoint", str(weights), "--out", str(out), *options])
        report = out / "report.json"
        return status, capsys.readouterr().err, json.loads(report.read_text()) if report.is_file() else {}

    return run


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Any use of the network is an error; the download cache of the hub is tmp_path/hub."""
    import huggingface_hub

    def refuse(*_: Any) -> None:
        raise AssertionError("network access")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
