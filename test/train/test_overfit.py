# SPDX-License-Identifier: Apache-2.0
"""The overfitting check: its recall, when it ends, and the files it writes."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from nocs_tree import write_tree
from tiny import tiny_config, tiny_model

from seqpose_core import ObjectPose, config_io
from seqpose_core.categories import CATEGORIES, CATEGORY_NAMES
from train.data.nocs_layout import NocsLayout
from train.fit.config import DataConfig, TrainConfig
from train.overfit import main, recall


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("clips")
    write_tree(root, "train", clips=2, frames=2)
    return root


def test_an_untrained_network_has_no_recall(data: Path) -> None:
    model = tiny_model()
    layout = NocsLayout.open(data, "train")
    assert [recall(model, layout, setting) for setting in ("single", "multi")] == [0.0, 0.0]


def test_ground_truth_has_full_recall_and_memory_is_reset_per_frame_or_per_clip(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout = NocsLayout.open(data, "train")
    frames = [frame for clip in range(len(layout.clips)) for frame in layout.frames(clip)]
    resets = []

    class GroundTruthEstimator:
        categories = CATEGORIES

        def __init__(self, *_: object, **__: object) -> None:
            self.frames = iter(frames)

        def reset(self) -> None:
            resets.append(1)

        def step(self, *_: object) -> list[ObjectPose]:
            return [
                ObjectPose(CATEGORY_NAMES[o.class_id - 1], 1.0, o.rotation, o.translation, o.size, np.eye(6), None, 0)
                for o in next(self.frames).objects
            ]

    monkeypatch.setattr("train.overfit.PoseEstimator", GroundTruthEstimator)
    assert recall(tiny_model(), layout, "multi") == 100.0
    assert len(resets) == 2  # clips
    assert recall(tiny_model(), layout, "single") == 100.0
    assert len(resets) == 2 + 2 + 4  # clips again, and frames


def test_a_recall_not_reached_is_an_error_and_the_curve_is_written(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = TrainConfig(model=tiny_config(), data=DataConfig(label_size=(24, 32)))
    (tmp_path / "config.yaml").write_text(config_io.dump_yaml(config))
    command = ["--config", str(tmp_path / "config.yaml"), "--data", str(data), "--out", str(tmp_path / "out")]
    with pytest.raises(SystemExit) as ended:
        main([*command, "--steps", "4", "--every", "3"])
    assert ended.value.code == 1
    assert "NOT reached" in capsys.readouterr().out
    with (tmp_path / "out/curve.csv").open() as file:
        assert [row["step"] for row in csv.DictReader(file)] == ["3", "4"]
    assert (tmp_path / "out/curve.png").read_bytes()[:4] == b"\x89PNG"
    with pytest.raises(SystemExit, match="already holds a run"):
        main(command)
