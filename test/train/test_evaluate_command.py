# SPDX-License-Identifier: Apache-2.0
"""train.evaluate: from a checkpoint or from result files to figures that name their data set."""

import json
import pickle

import cv2
import numpy as np
import pytest
from nocs_cases import CAMERA, frame, item, perfect, pose
from nocs_tree import object_poses, write_tree
from tiny import tiny_model

from seqpose_core import checkpoint
from seqpose_core.categories import CATEGORIES
from seqpose_core.evaluation.clips import group_clips
from seqpose_core.metrics.nocs import evaluate
from seqpose_core.objects import ObjectPose
from train.data.nocs_layout import NocsLayout
from train.evaluate import paper_results
from train.evaluate.__main__ import main
from train.evaluate.predict import weights_digest
from train.evaluate.result_files import read_results, result_of_frame, write_result
from train.evaluate.sets import open_set, views_of_set


@pytest.fixture(scope="module")
def checkpoint_folder(tmp_path_factory):
    return checkpoint.save(tiny_model(), tmp_path_factory.mktemp("checkpoint") / "tiny")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("data") / "boxes"
    write_tree(root, "test", clips=3, frames=3, height=84, width=112)
    return root


def run(checkpoint_folder, data, out, *options):
    main(
        ["--checkpoint", str(checkpoint_folder), "--data", str(data), "--out", str(out), "--workers", "1"]
        + ["--iou", "original", "fixed", "--min-score", "0", *options]
    )
    path = out / "metrics.json"
    return json.loads(path.read_text()) if path.is_file() else None


@pytest.fixture(scope="module")
def full_run(checkpoint_folder, data, tmp_path_factory):
    """Metrics and output folder of one run over all clips in both modes."""
    out = tmp_path_factory.mktemp("full_run")
    return run(checkpoint_folder, data, out, "--frames", "single", "multi"), out


def test_every_run_and_kind_is_measured_and_names_its_data(full_run):
    metrics, out = full_run
    assert list(metrics["ap"]) == ["single original", "single fixed", "multi original", "multi fixed"]
    assert metrics["data"] == "boxes, split test"
    assert metrics["ap"]["multi fixed"]["frames"] == 9
    assert metrics["ap"]["multi fixed"]["ground_truths"]["laptop"] == 9
    assert metrics["skipped"] == {}
    assert metrics["stability"]["multi"]["ground_truths_in_sight"] > 0
    assert len(list((out / "multi").glob("results_test_*.pkl"))) == 9


def test_single_and_multi_are_equal_on_the_first_frame_only(full_run):
    _, out = full_run
    for name, equal in (("results_test_00001_0000.pkl", True), ("results_test_00001_0002.pkl", False)):
        (single,), (multi,) = (read_results([out / mode / name])[0] for mode in ("single", "multi"))
        same = single["pred_RTs"].shape == multi["pred_RTs"].shape and np.allclose(
            single["pred_RTs"], multi["pred_RTs"]
        )
        assert same == equal


def test_a_report_shows_the_frames_of_the_set_and_names_checkpoint_and_data(full_run, checkpoint_folder, data):
    _, out = full_run
    main(
        ["--checkpoint", str(checkpoint_folder), "--data", str(data), "--out", str(out), "--workers", "1"]
        + ["--iou", "fixed", "--min-score", "0", "--frames", "multi", "--report"]
    )
    text = (out / "report/report.html").read_text(encoding="utf-8")
    assert "<title>SeqPose evaluation: tiny</title>" in text
    assert "<dt>measured on</dt><dd>boxes, split test</dd>" in text and "<dd>9 (multi)</dd>" in text
    assert f"<dd>SHA-256 {weights_digest(str(checkpoint_folder))}</dd>" in text
    assert str(data) not in text and str(checkpoint_folder) not in text
    pictures = sorted(path.name for path in (out / "report").glob("frame-*.png"))
    assert pictures == [f"frame-multi-{clip:05d}-{k:04d}.png" for clip in range(3) for k in range(3)]
    ground_truths = [label.translation for label in object_poses(NocsLayout.open(data, "test").read(0, 0))]
    shown = cv2.imread(str(out / "report/frame-multi-00000-0000.png"))
    assert len(ground_truths) == 3 and (shown == (50, 205, 50)).all(axis=2).sum() > 50  # their boxes are green


def test_views_are_loaded_by_clip_and_frame_without_missing_ones(data, tmp_path):
    write_tree(tmp_path / "damaged", "test", clips=1, frames=2, height=84, width=112)
    (tmp_path / "damaged/test/00000/0001_color.png").write_bytes(b"damaged")
    keys = ["anything/00000/0000", "test/00000/0001", "test/00000/0007", "test/elsewhere/0000", "3", ""]
    views = views_of_set(open_set(tmp_path / "damaged", "test"))(keys)
    assert list(views) == ["anything/00000/0000"]
    first_frame = NocsLayout.open(tmp_path / "damaged", "test").read(0, 0)
    np.testing.assert_array_equal(views[keys[0]].image, first_frame.image)
    assert views[keys[0]].camera == first_frame.camera


def test_shards_and_a_resumed_run_equal_one_full_run(full_run, checkpoint_folder, data, tmp_path):
    metrics, _ = full_run
    modes = ("--frames", "single", "multi")
    for shard in ("0/2", "1/2"):
        assert run(checkpoint_folder, data, tmp_path, *modes, "--shard", shard) is None
    written = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*.pkl")}
    assert len(written) == 18
    assert run(checkpoint_folder, data, tmp_path, *modes) == metrics
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*.pkl")} == written


def test_a_folder_is_not_mixed_with_predictions_of_other_settings(full_run, checkpoint_folder, data):
    _, out = full_run
    with pytest.raises(SystemExit, match="ego_motion is False but this run has True"):
        run(checkpoint_folder, data, out, "--ego-motion")


def test_written_results_score_the_same_without_the_model(full_run, tmp_path, capsys):
    metrics, out = full_run
    main(["--results", str(out / "multi"), "--out", str(tmp_path), "--iou", "fixed"])
    again = json.loads((tmp_path / "metrics.json").read_text())
    assert again["ap"]["results fixed"] == metrics["ap"]["multi fixed"]
    assert "results of multi" in capsys.readouterr().out


def test_broken_frames_are_skipped_counted_and_named(checkpoint_folder, tmp_path):
    write_tree(tmp_path / "data", "test", clips=1, frames=3, height=84, width=112)
    (tmp_path / "data/test/00000/0001_depth.png").write_bytes(b"damaged")
    for _ in range(2):  # and again when resumed
        metrics = run(checkpoint_folder, tmp_path / "data", tmp_path / "out")
        assert metrics["ap"]["multi fixed"]["frames"] == 2
        (reason,) = metrics["skipped"].values()
        assert "0001_depth.png" in reason


def test_result_files_hold_what_the_nocs_evaluation_reads(data):
    first_frame = next(NocsLayout.open(data, "test").frames(0))
    ground_truth = object_poses(first_frame)
    estimates = [
        ObjectPose(t.category, 0.5, t.rotation, t.translation, t.size, np.eye(6), None if k else 4)
        for k, t in enumerate(ground_truth)
    ]
    result = result_of_frame(first_frame, 0, "test/00000/0000", estimates)
    assert set(evaluate([result], "original").columns("laptop").values()) == {1.0}
    np.testing.assert_allclose(result["pred_RTs"], result["gt_RTs"], atol=1e-12)
    np.testing.assert_allclose(np.linalg.norm(result["pred_scales"], axis=1), 1)
    assert result["pred_track_ids"].tolist() == [4, -1, -1]
    for (y1, x1, y2, x2), t in zip(result["pred_bboxes"], ground_truth, strict=True):
        rows, columns = np.nonzero(first_frame.mask == t.track_id)
        assert y1 - 1 <= rows.min() and rows.max() <= y2 + 1
        assert x1 - 1 <= columns.min() and columns.max() <= x2 + 1


def test_clips_are_restored_in_order_with_identities(full_run):
    _, out = full_run
    results, _ = read_results(sorted((out / "multi").glob("*.pkl"), reverse=True))
    clips, _ = group_clips(results, 2.0, CATEGORIES)
    assert [len(clip) for clip in clips] == [3, 3, 3]
    for clip in clips:
        assert np.all(np.diff([moment.stamp for moment in clip]) > 0)
        assert [t.track_id for t in clip[0].ground_truths] == [1, 2, 3]
        assert not clip[0].estimates


def test_results_of_other_methods_are_scored_and_unusable_files_are_named(tmp_path, capsys):
    for k, result in enumerate(perfect(2)):
        write_result(tmp_path / f"results_{k}.pkl", result)
    (tmp_path / "results_2.pkl").write_bytes(pickle.dumps([perfect(1)[0], {"gt_class_ids": np.array([1])}]))
    (tmp_path / "results_3.pkl").write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    main(["--results", str(tmp_path)])
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    for kind in ("original", "fixed", "oriented"):
        report = metrics["ap"][f"results {kind}"]
        assert report["frames"] == 3
        assert set(report["ap_percent"]["mean"].values()) == {100.0}
    assert len(metrics["skipped"]) == 2
    text = capsys.readouterr().out
    assert "results_3.pkl" in text and "results_2.pkl[1]" in text and "lacks gt_RTs" in text
    assert "YOPO" not in text and "SeqPose, multi" not in text


def test_rows_of_papers_are_printed_only_next_to_figures_on_the_same_data(tmp_path, capsys, data):
    for result in perfect(1):
        write_result(tmp_path / "results_0.pkl", result)
    main(["--results", str(tmp_path), "--dataset", "REAL275"])
    text = capsys.readouterr().out
    assert "measured on REAL275" in text
    for row in paper_results.ROWS["REAL275"]:
        assert row.method in text and len(row.values) == 8
    # A part of REAL275 is not REAL275.
    write_tree(tmp_path / "raw", "real_test", clips=1, frames=1, height=84, width=112)
    (tmp_path / "raw/real").mkdir()
    (tmp_path / "raw/real_test").rename(tmp_path / "raw/real/test")
    assert open_set(tmp_path / "raw", "real_test").name == "part of REAL275 (1 of 2750 frames)"
    assert open_set(data, "test").name == "boxes, split test"
    write_tree(tmp_path / "data", "val", clips=1, frames=1, height=84, width=112)
    (tmp_path / "data/val/render.json").write_text("{}")
    assert open_set(tmp_path / "data", "val").name == "synthetic renders, split val"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--results", "nowhere"], "holds no results"),
        (["--checkpoint", "nowhere", "--data", "nowhere"], "nowhere"),
        (["--checkpoint", "x"], "needs --data"),
        (["--results", "x", "--shard", "2/2"], "expected I/N"),
    ],
)
def test_invalid_options_are_refused(options, message, capsys):
    with pytest.raises(SystemExit) as stop:
        main(options)
    assert message in str(stop.value) + capsys.readouterr().err


def test_a_result_without_predictions_can_be_written_and_read(tmp_path):
    write_result(tmp_path / "results_0.pkl", frame([item(CAMERA, pose())], []))
    results, broken = read_results([tmp_path / "results_0.pkl"])
    assert evaluate(results, "fixed").iou_ap["camera"][0.5] == 0 and not broken


def test_results_of_several_methods_are_compared_on_the_same_frames(tmp_path, capsys):
    rng = np.random.default_rng(0)
    for name, noise in (("ours", 0.01), ("other", 0.06)):
        (tmp_path / name).mkdir()
        for k, result in enumerate(perfect(6)):
            moved = np.array(result["pred_RTs"])
            moved[:, :3, 3] += noise * rng.normal(size=(6, 3))
            write_result(tmp_path / name / f"results_{k}.pkl", {**result, "pred_RTs": moved})
    folders = [str(tmp_path / "ours"), str(tmp_path / "other")]
    main(["--results", *folders, "--iou", "oriented", "--report", "--out", str(tmp_path / "out")])
    metrics = json.loads((tmp_path / "out/metrics.json").read_text())
    assert (
        metrics["ap"]["ours oriented"]["ap_percent"]["mean"]["10cm"]
        > metrics["ap"]["other oriented"]["ap_percent"]["mean"]["10cm"]
    )
    assert (tmp_path / "out/report/comparison-ap-oriented.png").read_bytes()[:4] == b"\x89PNG"
    assert "results of ours, other" in capsys.readouterr().out


def test_results_of_different_frames_or_of_equal_names_are_refused(tmp_path):
    for name, frames in (("a/ours", 2), ("b/ours", 2), ("b/other", 3)):
        (tmp_path / name).mkdir(parents=True)
        for k, result in enumerate(perfect(frames)):
            write_result(tmp_path / name / f"results_{k}.pkl", result)
    with pytest.raises(SystemExit, match="--results names two folders 'ours'"):
        main(["--results", str(tmp_path / "a/ours"), str(tmp_path / "b/ours"), "--out", str(tmp_path)])
    with pytest.raises(SystemExit, match="ours has results of 2 frames and other of 3"):
        main(["--results", str(tmp_path / "a/ours"), str(tmp_path / "b/other"), "--out", str(tmp_path)])
    one = perfect(1)[0]
    fewer = {key: value[:-1] if key.startswith("gt_") else value for key, value in one.items()}
    write_result(tmp_path / "b/other/results_1.pkl", fewer)
    (tmp_path / "b/other/results_2.pkl").unlink()
    with pytest.raises(SystemExit, match=r"frame 1 has ground truth of classes \[1, .*6\] in ours .* and \[1"):
        main(["--results", str(tmp_path / "a/ours"), str(tmp_path / "b/other"), "--out", str(tmp_path)])
