# SPDX-License-Identifier: Apache-2.0
"""train.evaluate with a support plane and depth: the plane of rendered sets, its simulated errors, figures by group."""

import json
from dataclasses import replace

import numpy as np
import pytest
from nocs_cases import frame, item, pose
from nocs_tree import write_tree
from tiny import tiny_model

from seqpose_core import checkpoint
from seqpose_core.evaluation import ScoringOptions, score_results
from seqpose_core.evaluation.support import HEIGHTS, support_figures, support_rows
from seqpose_core.geometry import box_corners
from train.data.nocs_layout import NocsLayout
from train.evaluate.__main__ import main
from train.evaluate.result_files import read_results
from train.evaluate.support import EXACT, PlaneNoise, plane_of_frame, support_heights


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A set whose objects stand on the plane z = 0 of the world, marked as rendered."""
    root = tmp_path_factory.mktemp("data") / "boxes"
    write_tree(root, "test", clips=1, frames=2, height=84, width=112)
    (root / "test" / "render.json").write_text("{}")
    return root


@pytest.fixture(scope="module")
def frames(data):
    return list(NocsLayout.open(data, "test").frames(0))


def test_objects_of_the_set_stand_on_its_plane(frames):
    for entry in frames:
        assert len(entry.objects) == 3
        np.testing.assert_allclose(support_heights(entry), 0.0, atol=1e-6)
        plane = plane_of_frame(entry, EXACT)
        for o in entry.objects:
            corners = box_corners(o.size) @ o.rotation.T + o.translation
            assert plane.heights(corners).min() == pytest.approx(0.0, abs=1e-6)


def test_simulated_errors_have_the_given_size_and_are_repeatable(frames):
    noise = PlaneNoise(centimetres=2.0, degrees=3.0)
    first, again = (plane_of_frame(frames[0], noise) for _ in range(2))
    np.testing.assert_array_equal(first.normal, again.normal)
    assert (first.height_noise, first.tilt_noise) == pytest.approx((0.02, np.radians(3)))
    heights, tilts = [], []
    exact = plane_of_frame(frames[0], EXACT)
    for index in range(1000):
        plane = plane_of_frame(replace(frames[0], name=f"{index:04d}"), noise)
        heights.append(plane.heights(exact.pivot))
        tilts.append(plane.normal - exact.normal)
    assert np.std(heights) == pytest.approx(0.02, rel=0.1)
    assert np.sqrt(np.mean(np.square(tilts).sum(1))) == pytest.approx(np.radians(3), rel=0.1)


def test_figures_are_given_for_objects_on_the_plane_and_others():
    at = {"near": pose((0, 0, 1.0)), "off": pose((0, 0, 1.04)), "raised": pose((0.5, 0, 1.0))}
    result = {
        **frame([item(1, at["near"]), item(1, at["raised"])], [item(1, at["off"])]),
        HEIGHTS: np.array([0.0, 0.1]),
    }
    figures = support_figures(score_results([result], ScoringOptions(iou_kinds=("oriented",))))
    assert figures is not None
    assert figures["on the plane"]["recall_percent"] == {
        "10cm": 100,
        "5cm": 100,
        "2cm": 0,
        "10°10cm": 100,
        "10°5cm": 100,
    }
    assert figures["not on the plane"]["recall_percent"]["10cm"] == 0
    assert figures["all"]["recall_percent"]["5cm"] == 50
    assert figures["on the plane"]["median_centimetres"] == pytest.approx(4.0)
    assert [row[0] for row in support_rows(figures)] == ["all", "on the plane", "not on the plane"]
    del result[HEIGHTS]
    assert support_figures(score_results([result], ScoringOptions(iou_kinds=("oriented",)))) is None


def test_runs_with_a_plane_or_depth_have_names_and_folders_of_their_own(data, tmp_path, capsys):
    folder = checkpoint.save(tiny_model(), tmp_path / "tiny")
    given = ["--checkpoint", str(folder), "--data", str(data), "--out", str(tmp_path / "out"), "--workers", "1"]
    given += ["--iou", "fixed", "--min-score", "0"]
    main(given)
    main([*given, "--support-plane", "--plane-noise", "1", "2", "--depth"])
    assert "multi+plane-1cm-2deg+depth: predictions" in capsys.readouterr().out
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert (metrics["support_plane"], metrics["depth"]) == ("1 cm, 2°", True)
    assert metrics["support"]["multi+plane-1cm-2deg+depth"]["all"]["ground_truths"] > 0
    name = "results_test_00000_0000.pkl"
    (plain,), (fused,) = (
        read_results([tmp_path / "out" / run / name])[0] for run in ("multi", "multi+plane-1cm-2deg+depth")
    )
    assert len(plain["pred_scores"]) == len(fused["pred_scores"])
    assert not np.allclose(plain["pred_RTs"], fused["pred_RTs"])

    (data / "test" / "render.json").rename(data / "test" / "render.txt")
    with pytest.raises(SystemExit, match=r"only sets of train\.render"):
        main([*given, "--out", str(tmp_path / "other"), "--support-plane"])
    with pytest.raises(SystemExit):
        main([*given, "--plane-noise", "1", "1"])
    assert "--plane-noise needs --support-plane" in capsys.readouterr().err
