# SPDX-License-Identifier: Apache-2.0
"""train.evaluate counts broken results and scores the others, or names what is wrong with a data set."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nocs_tree import object_poses, write_tree

from seqpose_core.objects import ObjectPose
from train.data import NocsLayout
from train.evaluate import __main__ as evaluate
from train.evaluate.result_files import result_of_frame, result_path, write_result


def write_results(root: Path, **changes: Any) -> Path:
    """Results of three frames, perfect except for the changes in the second."""
    write_tree(root / "data", "test", clips=1, frames=3, height=84, width=112)
    for frame in NocsLayout.open(root / "data", "test").frames(0):
        estimates = [
            ObjectPose(t.category, 0.9, t.rotation, t.translation, t.size, np.eye(6), t.track_id)
            for t in object_poses(frame)
        ]
        result = result_of_frame(frame, int(frame.name), f"test/00000/{frame.name}", estimates)
        if frame.name == "0001":
            result.update(changes)
        write_result(result_path(root / "results", "test", "00000", frame.name), result)
    return root / "results"


WRONG_SHAPES = {
    "gt_RTs": np.zeros((3, 3, 4)),
    "gt_scales": np.zeros((3, 2)),
    "pred_RTs": np.zeros((2, 4, 4)),
    "pred_scores": np.ones(2),
    "pred_class_ids": np.array([[1, 5, 6]]),
    "gt_instance_ids": np.array([1]),
    "gt_visible_pixels": np.array([5, 5]),
    "pred_track_ids": np.array([1, 2]),
    "pred_covariances": np.zeros((3, 3, 3)),
}


@pytest.mark.parametrize("key", WRONG_SHAPES)
def test_results_of_a_wrong_shape_are_refused_with_frame_key_and_shape(key: str, tmp_path: Path) -> None:
    folder = write_results(tmp_path, **{key: WRONG_SHAPES[key]})
    with pytest.raises(SystemExit) as stop:
        evaluate.main(["--results", str(folder)])
    output = str(stop.value)
    assert "test/00000/0001" in output and "shape" in output
    # The classes define the count: if their shape is wrong, the first key that disagrees is named.
    assert (key if key != "pred_class_ids" else "pred_") in output


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"gt_class_ids": np.array([1, 9, 6])}, "ground truth: class outside 1..6"),
        ({"pred_class_ids": np.array([0, 5, 6])}, "prediction: class outside 1..6"),
        ({"gt_RTs": np.full((3, 4, 4), np.nan)}, "ground truth: pose or size not finite"),
        ({"pred_RTs": np.full((3, 4, 4), np.inf)}, "prediction: pose or size not finite, counted as false positive"),
        ({"pred_scales": np.full((3, 3), np.nan)}, "prediction: pose or size not finite, counted as false positive"),
        ({"pred_scores": np.full(3, np.nan)}, "prediction: score not finite"),
    ],
)
def test_invalid_instances_are_counted_and_the_others_are_scored(
    changes: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    folder = write_results(tmp_path, **changes)
    evaluate.main(["--results", str(folder)])
    metrics = json.loads((folder / "metrics.json").read_text())
    report = metrics["ap"]["results oriented"]
    assert report["frames"] == 3 and report["dropped"][reason] >= 1
    assert metrics["detections"]["results"]["all"]["detected"] >= 6  # the other two frames
    assert metrics["stability"]["results"]["ground_truths_in_sight"] == 3


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "holds no results_*.pkl"),
        (b"cos\nsystem\n(S'true'\ntR.", "results_0.pkl (posix.system is refused"),
        (b"", "results_0.pkl (damaged pickle"),
        (pickle.dumps([1, 2]), "results_0.pkl[0] (result is a int, not a dictionary"),
    ],
)
def test_the_error_names_a_folder_without_usable_results(content: bytes | None, reason: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "results_0.pkl").write_bytes(content)
    with pytest.raises(SystemExit) as stop:
        evaluate.main(["--results", str(tmp_path)])
    assert reason.replace("posix.system", "os.system") in str(stop.value).replace("posix.system", "os.system")


def test_an_unknown_device_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        evaluate.main(["--checkpoint", "seqpose-lite2", "--data", str(tmp_path), "--device", "gpu"])
    assert "--device is 'gpu'; it must be cpu, cuda or cuda:<number>" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["data", "data/test", "gts"])
def test_the_error_names_an_empty_set(name: str, tmp_path: Path) -> None:
    (tmp_path / "data" / "test").mkdir(parents=True)
    if name == "gts":
        (tmp_path / "data" / "gts" / "test").mkdir(parents=True)
    with pytest.raises(SystemExit, match=r"is not a folder; a NOCS layout|holds no <scene>/<frame>_color.png"):
        evaluate.main(["--checkpoint", "seqpose-lite2", "--data", str(tmp_path / "data"), "--out", str(tmp_path / "o")])
