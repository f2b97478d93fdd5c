# SPDX-License-Identifier: Apache-2.0
"""The readiness check: what it reports of valid, broken and inconsistent data sets, and its exit status."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from encoders_rig import DINOV2
from nocs_miniature import write_nocs_miniature
from nocs_tree import write_tree
from training_rig import small_training

from seqpose_core import config_io
from train.check.__main__ import check, main
from train.check.agreement import agreements
from train.check.finding import Finding
from train.data.nocs_layout import NocsLayout
from train.data.sampler import Stage
from train.fit.config import ComputeConfig, SetConfig, TrainConfig


def by_subject(findings: list[Finding]) -> dict[str, Finding]:
    return {finding.subject: finding for finding in findings}


def change_labels(folder: Path, key: str, change: np.ndarray, frames: str = "*") -> None:
    """Add ``change`` to an array of the label pickles."""
    for path in folder.glob(f"results_*_{frames}.pkl"):
        label = pickle.loads(path.read_bytes())
        label[key] = label[key] + change.astype(label[key].dtype)
        path.write_bytes(pickle.dumps(label))


def test_sound_data_is_ready_and_the_report_names_time_and_memory(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = small_training(tmp_path / "data", stages=(Stage(4, 1, 2), Stage(6, 2, 2)))
    (tmp_path / "train.yaml").write_text(config_io.dump_yaml(config))
    with pytest.raises(SystemExit) as ended:
        main(["--config", str(tmp_path / "train.yaml"), "--steps", "1"])
    lines = capsys.readouterr().out.splitlines()
    text = "\n".join(" ".join(line.split()) for line in lines)
    assert ended.value.code == 0, text
    assert lines[-1] == "ready: 0 errors, 2 warnings"  # bowls, cameras and cans are in neither set
    for part in (
        "train (training): layout 3 clips of 4 frames, 12 frames",
        "val (validation): broken frames 0 of 12 read",
        "12 bottle, 12 laptop, 12 mug, in 12 images of 224x168; no bowl, camera, can",
        "100 % of the frames have a stamp, 100 % a camera pose",
        "0 of 36 objects above 10 px or 3 cm",
        "steps 0 to 4",
        "steps 4 to 6",
        "million parameters",
        "GB at most in this process",
        "hours with validation; processes: 1, each as fast as this one on the CPU",
    ):
        assert part in text, text


def test_the_miniature_of_nocs_is_ready(tmp_path: Path) -> None:
    write_nocs_miniature(tmp_path)
    config = small_training(tmp_path / "own")
    sets = replace(
        config.data,
        root=str(tmp_path),
        train=(SetConfig("real_train", labels="relabelled"),),
        val=(SetConfig("real_test", labels="gts"), SetConfig("camera_val", labels="gts")),
        camera_motion="labels",
    )
    found = by_subject(check(replace(config, data=sets), frames=0, steps=0))
    assert {finding.level for finding in found.values()} == {"ok", "warning"}
    assert found["real_train (training): motion"].text.startswith("100 % of the frames have a stamp, 100 %")
    assert found["real_test (validation): motion"].text.endswith("0 % a camera pose")
    assert found["camera_val (validation): motion"].text.startswith("0 % of the frames have a stamp")
    for name in ("real_train (training)", "real_test (validation)", "camera_val (validation)"):
        assert found[f"{name}: labels"].level == "ok"


def test_agreement_measures_a_shift_along_the_ray_in_depth_and_across_it_in_pixels(tmp_path: Path) -> None:
    write_tree(tmp_path, "train", clips=1, frames=1)
    exact = list(agreements(NocsLayout.open(tmp_path, "train").read(0, 0)))
    assert len(exact) == 3 and all(a.pixels < 2 and a.centimetres < 0.5 for a in exact)
    change_labels(tmp_path / "gts/train", "gt_RTs", np.array([[0, 0, 0, 0], [0] * 4, [0, 0, 0, 0.1], [0] * 4]))
    deeper = list(agreements(NocsLayout.open(tmp_path, "train").read(0, 0)))
    assert [round(b.centimetres - a.centimetres) for a, b in zip(exact, deeper, strict=True)] == [10, 10, 10]
    change_labels(tmp_path / "gts/train", "gt_RTs", np.array([[0, 0, 0, 0.1], [0] * 4, [0, 0, 0, -0.1], [0] * 4]))
    frame = NocsLayout.open(tmp_path, "train").read(0, 0)
    for item, labelled in zip(agreements(frame), frame.objects, strict=True):
        distance = float(np.median(frame.depth[frame.mask == labelled.instance]))
        # 10 cm at this distance with a focal length of 200 pixels, given for 640 instead of 224 pixels of width
        assert item.pixels == pytest.approx(0.1 / distance * 200 * 640 / 224, rel=0.02)
        assert item.centimetres < 0.5


def test_validation_on_training_data_is_a_warning(tmp_path: Path) -> None:
    config = small_training(tmp_path)
    findings = check(replace(config, data=replace(config.data, val=config.data.train)), frames=2, steps=0)
    warning = Finding(
        "warning", "train (training)", "is also a validation set, whose figures then show what was trained on"
    )
    assert warning in findings


@pytest.mark.parametrize("share", ["0000", "*"])
def test_labels_that_disagree_are_a_warning_or_an_error_by_their_share(tmp_path: Path, share: str) -> None:
    config = small_training(tmp_path)
    shift = np.zeros((4, 4))
    shift[0, 3] = 0.2
    change_labels(tmp_path / "gts/train", "gt_RTs", shift, share)
    found = by_subject(check(config, frames=0, steps=0))["train (training): labels"]
    assert found.level == ("error" if share == "*" else "warning")
    assert f"{36 if share == '*' else 9} of 36 objects above 10 px or 3 cm, the most in 0000" in found.text


def test_the_scene_with_most_disagreeing_labels_is_named(tmp_path: Path) -> None:
    config = small_training(tmp_path)
    shift = np.zeros((4, 4))
    shift[0, 3] = 0.2
    change_labels(tmp_path / "gts/train", "gt_RTs", shift, "00001_0002")
    change_labels(tmp_path / "gts/train", "gt_RTs", shift, "00002_000[01]")
    text = by_subject(check(config, frames=0, steps=0))["train (training): labels"].text
    assert text.endswith("9 of 36 objects above 10 px or 3 cm, the most in 00002: 6")


def test_broken_frames_and_missing_sets_are_errors_with_their_files(tmp_path: Path) -> None:
    config = small_training(tmp_path)
    (tmp_path / "train/00001/0002_depth.png").write_bytes(b"")
    data = replace(config.data, val=(SetConfig("test"),))
    findings = check(replace(config, data=data), frames=0, steps=1)
    found = by_subject(findings)
    assert found["train (training): broken frames"].level == "error"  # 8 %
    assert found["train (training): broken frames"].text.startswith("1 of 12 read; ")
    assert "0002_depth.png: is not a readable image" in found["train (training): broken frames"].text
    assert found["test (validation): layout"].text.endswith("a NOCS layout has scene folders and gts/<split>")
    assert not any(subject.startswith("steps") for subject in found), "the network is not checked on broken data"


def test_every_kind_of_damage_is_counted_with_an_example(tmp_path: Path) -> None:
    config = small_training(tmp_path)
    (tmp_path / "train/00000/0001_color.png").write_bytes(b"")
    for frame in range(4):
        (tmp_path / f"train/00001/{frame:04d}_mask.png").unlink()
    text = by_subject(check(config, frames=0, steps=0))["train (training): broken frames"].text
    scenes = tmp_path / "train"
    assert text == (
        f"5 of 12 read; 4 as {scenes}/00001/0000_mask.png: is missing; "
        f"{scenes}/00000/0001_color.png: is not a readable image (0 bytes)"
    )


@pytest.mark.parametrize(
    ("change", "subject", "message"),
    [
        ({"compute": ComputeConfig("cpu", devices=3)}, "training step", "must divide into 3 processes"),
        ({"model": "weights"}, "weights", r"config.json does not exist"),
    ],
)
def test_a_run_that_cannot_start_is_an_error(
    tmp_path: Path, change: dict[str, object], subject: str, message: str
) -> None:
    config: TrainConfig = small_training(tmp_path, stages=(Stage(4, 1, 4),))
    if change == {"model": "weights"}:
        encoder = replace(DINOV2, pretrained=str(tmp_path / "nowhere"))
        change = {"model": replace(config.model, encoder=encoder)}
    found = by_subject(check(replace(config, **change), frames=2, steps=1))  # type: ignore[arg-type]
    assert found[subject].level == "error" and message in found[subject].text
