# SPDX-License-Identifier: Apache-2.0
"""Training data whose categories are those of the model's configuration."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from kettle_rig import KETTLE, save_kettle_model
from nocs_tree import Solid, object_poses, write_tree

from seqpose_core import CATEGORIES, CATEGORY_NAMES
from seqpose_ros.bags.bag import Bag
from train import to_bag
from train.data.clips import ClipSample, NocsClips
from train.data.nocs_files import BrokenFrameError
from train.data.nocs_sets import open_layout
from train.evaluate.__main__ import main

SEVEN = (*CATEGORIES, KETTLE)


def bottle_to_kettle(solid: Solid) -> Solid:
    return replace(solid, class_id=7 if solid.class_id == 1 else solid.class_id, categories=SEVEN)


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("kettles")
    write_tree(root, clips=1, frames=2, change=bottle_to_kettle)
    return root


def test_targets_have_the_class_and_symmetry_of_the_configured_category(tree: Path) -> None:
    sample = NocsClips([open_layout(tree, "train", categories=SEVEN)])[ClipSample(0, (0, 1), 0)]
    is_kettle = sample["classes"] == 6
    assert is_kettle.any()
    assert sample["symmetric"][is_kettle].all()
    assert set(np.unique(sample["segmentation"])) == {0, 5, 6, 7}
    # The yaw of a symmetric object is canonical: the camera is in the x-y plane of the object, at positive x.
    rotation, translation = sample["rotation"][is_kettle].numpy(), sample["translation"][is_kettle].numpy()
    camera = (rotation.transpose(0, 2, 1) @ -translation[..., None])[..., 0]
    np.testing.assert_allclose(camera[:, 2], 0, atol=1e-5)
    assert (camera[:, 0] > 0).all()


def test_ground_truth_objects_have_the_configured_category(tree: Path) -> None:
    objects = object_poses(open_layout(tree, "train", categories=SEVEN).read(0, 0))
    assert sorted(item.category for item in objects) == ["kettle", "laptop", "mug"]
    assert KETTLE in {item.category_info for item in objects}


def test_a_class_id_outside_the_categories_breaks_the_frame(tree: Path) -> None:
    with pytest.raises(BrokenFrameError, match="class out of range"):
        open_layout(tree, "train").read(0, 0)


def test_a_bag_is_written_with_the_categories_of_a_model(tree: Path, tmp_path: Path) -> None:
    model = save_kettle_model(tmp_path / "model")
    to_bag.main([str(tree / "train" / "00000"), "--out", str(tmp_path / "bag"), "--model", str(model / "config.yaml")])
    with Bag(tmp_path / "bag", categories=SEVEN) as bag:
        names = {item.category for frame in bag.frames() for item in frame.ground_truth or []}
    assert names == {"kettle", "laptop", "mug"}


def test_a_checkpoint_is_evaluated_in_its_own_categories(tree: Path, tmp_path: Path) -> None:
    model = save_kettle_model(tmp_path / "model")
    arguments = ["--checkpoint", str(model), "--data", str(tree), "--split", "train", "--workers", "1", "--report"]
    main([*arguments, "--iou", "oriented", "--out", str(tmp_path / "out")])
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert metrics["skipped"] == {}
    ap = metrics["ap"]["multi oriented"]
    assert ap["ground_truths"] == {**dict.fromkeys(CATEGORY_NAMES, 0), "laptop": 2, "mug": 2, "kettle": 2}
    assert ap["predictions"]["kettle"] > 0
    assert "kettle" in (tmp_path / "out" / "report" / "report.html").read_text()
