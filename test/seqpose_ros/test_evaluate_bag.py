# SPDX-License-Identifier: Apache-2.0
"""evaluate_bag: the estimator over the frames of a bag, scored as in train.evaluate, and the real-time run."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from bag_rig import FRAMES, WIDTH, upright_object
from nocs_tree import object_poses, write_tree
from ros_rig import restore_ros_environment
from scipy.spatial.transform import Rotation

from seqpose_core import ObjectPose, PoseEstimator
from seqpose_core.evaluation import ScoringOptions
from seqpose_core.geometry import rotation_about_y
from seqpose_ros.bags import realtime, replay
from seqpose_ros.bags.bag import Bag
from seqpose_ros.bags.realtime import summarize_replay
from seqpose_ros.bags.replay import Recording, ReplayError
from seqpose_ros.bags.scoring import FrameGroundTruth, bag_figures, score_frames
from seqpose_ros.evaluate_bag import main
from seqpose_ros.stamps import seconds
from train.data import Frame, NocsLayout
from train.evaluate import __main__ as train_evaluate
from train.evaluate.result_files import result_of_frame, result_path, write_result
from train.to_bag import write_bag


def run(bag: Path, weights: Path, out: Path, *options: str) -> tuple[int, dict[str, Any]]:
    status = main([str(bag), "--checkpoint", str(weights), "--out", str(out), "--min-score", "0", *options])
    return status, json.loads((out / "report.json").read_text())


def test_evaluating_a_bag_is_the_estimator_over_its_frames(bag_path: Path, weights: Path, tmp_path: Path) -> None:
    status, report = run(bag_path, weights, tmp_path, "--recall-score", "0", "--video")
    assert status == 0
    assert report["frames_processed"] == report["objects_true"] == FRAMES  # one visible mug per frame
    assert (report["frames_skipped"], report["skipped"], report["damage"]) == (0, {}, [])
    assert (tmp_path / "video.mp4").stat().st_size > 1000
    sheet = cv2.imread(str(tmp_path / "frames.png"))
    assert sheet is not None
    assert sheet.shape[1] > 2 * WIDTH  # ground truth next to prediction
    estimator = PoseEstimator.from_pretrained(weights, score_threshold=0.0)
    with Bag(bag_path) as bag:
        steps = [estimator.step(f.image, f.camera, seconds(f.stamp)) for f in bag.frames()]
    assert report["objects_predicted"] == sum(map(len, steps))


def test_the_figures_with_the_support_plane_are_apart_from_those_of_rgb_only(
    bag_path: Path, weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, rgb = run(bag_path, weights, tmp_path / "rgb", "--recall-score", "0")
    capsys.readouterr()
    options = ["--recall-score", "0", "--support-plane", "world", "--support-height", "0.1"]
    status, report = run(bag_path, weights, tmp_path / "plane", *options)
    assert status == 0
    plane = report.pop("support_plane")
    for values in (rgb, report):
        del values["step_ms"]
    assert report == rgb
    assert (plane["frame"], plane["height"], plane["frames_with_plane"]) == ("world", 0.1, FRAMES)
    assert plane["objects_true"] == report["objects_true"] == FRAMES
    assert {"recall_10cm", "ap", "detections", "objects_on_support"} <= plane.keys()
    before, after = capsys.readouterr().out.split("with the support plane of world")
    assert "on the plane" not in before and "not on the plane" in after
    # The camera looks up, so the mug is 1.2 m above the plane.
    counts = {name: group["ground_truths"] for name, group in plane["support"].items()}
    assert counts == {"all": FRAMES, "on the plane": 0, "not on the plane": FRAMES}


def test_a_support_height_without_a_frame_is_refused(bag_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([str(bag_path), "--out", "out", "--support-height", "0.1"])
    assert (
        "--support-height is 0.1; it must be finite, and --support-plane must name its frame" in capsys.readouterr().err
    )


def test_a_second_run_gives_the_same_report(bag_path: Path, weights: Path, tmp_path: Path) -> None:
    reports = [run(bag_path, weights, tmp_path / name)[1] for name in ("a", "b")]
    for report in reports:
        assert report.pop("step_ms")["p50"] > 0
    assert reports[0] == reports[1]


def test_the_report_shows_the_bags_images(bag_path: Path, weights: Path, tmp_path: Path) -> None:
    assert run(bag_path, weights, tmp_path, "--report")[0] == 0
    page = (tmp_path / "report" / "report.html").read_text()
    assert "bag bag" in page and page.count("data:image/png") >= FRAMES


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--recall-score", "-3"], "recall_score is -3.0; it must lie in 0..1"),
        (["--recall-score", "nan"], "recall_score is nan; it must lie in 0..1"),
        (["--rate", "inf"], "--rate is inf; it must be more than 0 and finite"),
        (["--out", __file__], f"--out is {__file__}, which is a file; name a folder"),
        (["--device", "gpu"], "--device is 'gpu'; it must be cpu, cuda or cuda:<number>"),
    ],
)
def test_an_option_out_of_range_is_refused(
    options: list[str], reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["bag", "--out", str(tmp_path), *options])
    assert reason in capsys.readouterr().err


def test_a_bag_without_ground_truth_is_run_but_not_scored(
    bag_path: Path, weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, report = run(bag_path, weights, tmp_path, "--truth-topic", "/none")
    assert status == 0
    assert (report["frames_processed"], report["frames_without_ground_truth"]) == (FRAMES, FRAMES)
    assert "recall_10cm" not in report and "ap" not in report
    output = capsys.readouterr().out
    assert "the bag has no ground truth" in output
    (text,) = report["warnings"]
    assert (
        text.endswith("Detection3DArray are: /truth/detections; name one with --ground-truth-topic") and text in output
    )


# The same figures as train.evaluate.


def estimates_of(frame: Frame) -> list[ObjectPose]:
    """The ground truth with errors: one object missed, one false positive and one of low score."""
    number = int(frame.name)
    bottle, laptop, mug = sorted(object_poses(frame), key=lambda o: o.category)
    off = np.array([0.004, 0.003, 0.01]) * (1 + number)
    bottle_rotation, mug_rotation = (
        bottle.rotation @ rotation_about_y(1.0),
        mug.rotation @ rotation_about_y(0.1 * number),
    )
    estimates = [
        replace(bottle, score=0.9, translation=bottle.translation + off, rotation=bottle_rotation),
        replace(mug, score=0.5, rotation=mug_rotation, size=1.2 * mug.size, track_id=7),
        replace(bottle, score=0.4, translation=bottle.translation + [0.5, 0, 0], track_id=None),
        replace(laptop, score=0.1, translation=laptop.translation - off, track_id=9),
    ]
    # All are tilted: the cosine of an angle of 0 may round to beyond 1, which is counted.
    tilt = Rotation.from_euler("x", 2, degrees=True).as_matrix()
    covariance = np.diag([1e-4, 1e-4, 1e-3, 0.01, 0.01, 0.01])
    kept = estimates if number != 2 else estimates[1:]
    return [replace(o, rotation=o.rotation @ tilt, covariance=covariance) for o in kept]


def test_the_figures_are_those_of_train_evaluate_for_the_same_estimates(tmp_path: Path) -> None:
    write_tree(tmp_path / "data", "test", clips=1, frames=4, height=84, width=112)
    frames = list(NocsLayout.open(tmp_path / "data", "test").frames(0))
    estimates = {int(f.name): estimates_of(f) for f in frames}
    for f in frames:
        result = result_of_frame(f, int(f.name), f"test/00000/{f.name}", estimates[int(f.name)])
        write_result(result_path(tmp_path / "results", "test", "00000", f.name), result)
    train_evaluate.main(["--results", str(tmp_path / "results")])
    theirs = json.loads((tmp_path / "results" / "metrics.json").read_text())

    write_bag(tmp_path / "data" / "test" / "00000", tmp_path / "bag")
    with Bag(tmp_path / "bag") as bag:
        ground_truths = [FrameGroundTruth(f.index, f.stamp, f.ground_truth) for f in bag.frames()]
    scored = score_frames(ground_truths, estimates, "bag", ScoringOptions())
    ours = bag_figures(scored, len(estimates))
    for kind in ("original", "fixed", "oriented"):
        expected = {k: v for k, v in theirs["ap"][f"results {kind}"].items() if k != "curves"}
        assert ours["ap"][kind] == expected
    assert ours["ap"]["oriented"]["ap_percent"]["bottle"]["10°10cm"] == 75.0  # three of four are detected
    assert_close(ours["detections"], theirs["detections"]["results"])
    assert_close(ours["stability"], theirs["stability"]["results"])
    everything = theirs["detections"]["results"]["all"]
    assert ours["recall_10cm"] == pytest.approx(everything["recall_percent"]["10cm"], abs=0.01)
    assert ours["recall_10deg10cm"] == pytest.approx(everything["recall_percent"]["10°10cm"], abs=0.01)
    assert ours["median_translation_cm"] == pytest.approx(everything["median_centimetres"], abs=1e-3)


def assert_close(ours: Any, theirs: Any) -> None:
    """Equal except for the rounding of poses to quaternions and of seconds since 1970 to a double."""
    if isinstance(theirs, dict):
        assert ours.keys() == theirs.keys()
        for key in theirs:
            assert_close(ours[key], theirs[key])
    elif isinstance(theirs, list):
        for a, b in zip(ours, theirs, strict=True):
            assert_close(a, b)
    else:
        assert ours == (theirs if theirs is None else pytest.approx(theirs, rel=1e-5, abs=1e-6))


def test_ground_truths_without_numbers_give_no_stability_and_the_reason(bag_path: Path) -> None:
    mug = replace(upright_object("mug", (0, 0, 1)), track_id=None)
    scored = score_frames([FrameGroundTruth(0, 10**9, [mug])], {0: [mug]}, "bag", ScoringOptions())
    values = bag_figures(scored, 1)
    assert values["stability"] is None
    assert "a ground-truth object has no integer id" in values["no_stability"]
    assert values["recall_10cm"] == 100.0


# Real time.


def test_the_realtime_run_adds_latency_drops_and_the_same_figures(
    bag_path: Path, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    restore_ros_environment(monkeypatch)
    status, report = run(bag_path, weights, tmp_path, "--recall-score", "0", "--realtime", "--rate", "0.5")
    assert status == 0
    live = report["realtime"]
    assert live["frames_sent"] == FRAMES == report["frames_processed"]
    assert 1 <= live["frames_processed"] == FRAMES - live["frames_dropped"] == live["objects_true"]
    assert 0 < live["latency_ms"]["p50"] <= live["latency_ms"]["p95"] <= live["latency_ms"]["max"]
    assert (
        live["ap"].keys() == report["ap"].keys() and live["detections"]["mug"]["ground_truths"] == live["objects_true"]
    )
    if live["frames_dropped"] == 0:  # nothing was dropped: the node gives the estimator's result
        assert live["objects_predicted"] == report["objects_predicted"]
    assert "the node at 0.5 times the recorded rate" in capsys.readouterr().out


def test_a_failed_realtime_run_is_reported_and_keeps_the_other_figures(
    bag_path: Path, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    restore_ros_environment(monkeypatch)

    def died(*arguments: Any) -> None:
        raise ReplayError("seqpose_node died with exit status -9 while it had to be played to")

    monkeypatch.setattr(replay, "run", died)
    status, report = run(bag_path, weights, tmp_path, "--realtime")
    assert status == 1
    assert "--realtime failed: seqpose_node died with exit status -9" in capsys.readouterr().err
    assert report["frames_processed"] == FRAMES and "died" in report["realtime"]["error"]


def test_a_node_that_publishes_nothing_is_reported_with_what_it_received() -> None:
    played = {"timeline": {"origin": 0, "start": 0, "rate": 1.0}, "sent": {"/image": 4}, "late_ms": 0.0}
    state = {"images_received": "4", "images_refused": "4", "message": "camera_info is 32x24 but the image is 96x72"}
    with pytest.raises(ReplayError, match=r"nothing for the 4 images sent: it received 4 and refused 4 .*32x24"):
        summarize_replay("/image", [FrameGroundTruth(0, 0, [])], Recording(diagnostics=state), played)


def test_latency_and_drops_are_counted_by_hand() -> None:
    frames = [FrameGroundTruth(i, 100 * i, []) for i in range(4)]
    played = {"timeline": {"origin": 0, "start": 1000, "rate": 2.0}, "sent": {"/image": 4}, "late_ms": 0.5}
    # Played at double speed: the frames are sent at 1000, 1050, 1100 and 1150; the third was not processed.
    recording = Recording(
        objects={1000: [], 1050: [], 1150: []},
        latency={1000: 0.010, 1050: 0.030, 1150: 0.020},
        tf_frames={"mug_1"},
        diagnostics={"images_refused": "1"},
    )
    live = realtime.summarize_replay("/image", frames, recording, played)
    assert sorted(live.predictions) == [0, 1, 3]
    counts = [live.statistics[f"frames_{name}"] for name in ("sent", "processed", "dropped", "refused")]
    assert counts == [4, 3, 1, 1]
    assert live.statistics["latency_ms"] == {"p50": 20.0, "p95": 29.0, "max": 30.0}
