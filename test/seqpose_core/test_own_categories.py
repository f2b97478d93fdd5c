# SPDX-License-Identifier: Apache-2.0
"""Categories are data of a checkpoint: a model with a seventh one is saved, loaded, run and drawn like any other."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from kettle_rig import CAMERA, KETTLE, detect_kettles, save_kettle_model
from tiny import frames, tiny_config

from seqpose_core import CATEGORIES, Category, ObjectPose, PoseEstimator, SeqPose, SeqPoseConfig, checkpoint
from seqpose_core.config_io import ConfigError
from seqpose_core.visualize import Style, draw_objects


@pytest.fixture(scope="module")
def seven(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_kettle_model(tmp_path_factory.mktemp("seven"))


def test_heads_and_proposals_have_a_channel_per_category() -> None:
    model = SeqPose(replace(tiny_config(), categories=(*CATEGORIES, KETTLE))).eval()
    prediction, _ = model(*frames(2))
    assert prediction.objects.logits.shape[2] == 7
    assert prediction.centre is not None and prediction.centre.heat.shape[1] == 7
    assert prediction.dense is not None and prediction.dense.segmentation is not None
    assert prediction.dense.segmentation.shape[1] == 8  # and the background


def test_sizes_start_at_the_geometric_mean_of_the_typical_sizes() -> None:
    jug = Category(2, "jug", False, (0.05, 0.22, 0.04), (40, 50, 60))
    model = SeqPose(replace(tiny_config(), categories=(replace(KETTLE, id=1), jug)))
    np.testing.assert_allclose(model.heads[0].typical_size.numpy(), [0.1, 0.22, 0.08], rtol=1e-6)


def test_the_categories_of_a_checkpoint_are_saved_and_loaded(seven: Path) -> None:
    assert checkpoint.read_config(seven).categories == (*CATEGORIES, KETTLE)
    assert PoseEstimator.from_pretrained(seven).categories == (*CATEGORIES, KETTLE)


def test_the_estimator_reports_the_categories_of_its_model(seven: Path) -> None:
    objects = detect_kettles(seven)
    assert objects and {item.category for item in objects} == {"kettle"}
    assert all(item.category_info == KETTLE for item in objects)
    assert detect_kettles(seven, categories=("mug",), score_threshold=0.5) == []
    with pytest.raises(ValueError, match=r"unknown category 'teapot'; known are: .*kettle"):
        detect_kettles(seven, categories=("teapot",))


def test_a_symmetric_category_has_a_uniform_yaw_and_its_x_axis_points_to_the_camera(seven: Path) -> None:
    for item in detect_kettles(seven):
        yaw_variance = item.rotation[:, 1] @ item.covariance[3:, 3:] @ item.rotation[:, 1]
        assert yaw_variance == pytest.approx(np.pi**2 / 3, rel=1e-4)
        assert (item.rotation.T @ -item.translation)[2] == pytest.approx(0, abs=1e-9)


def test_objects_are_drawn_in_the_colour_of_their_category() -> None:
    item = ObjectPose("kettle", 0.9, np.eye(3), np.array([0, 0, 1.0]), np.full(3, 0.2), np.eye(6), category_info=KETTLE)
    image = draw_objects(np.zeros((480, 640, 3), np.uint8), CAMERA, [item], Style(axes=False, labels=False))
    u, v = np.round(CAMERA.project(item.corners[0])).astype(int)
    assert tuple(image[v, u]) == KETTLE.colour


def test_an_object_of_an_unknown_category_needs_its_category_info() -> None:
    values = (0.9, np.eye(3), np.zeros(3), np.ones(3), np.eye(6))
    with pytest.raises(KeyError, match="unknown category 'kettle'"):
        ObjectPose("kettle", *values)
    with pytest.raises(ValueError, match="category is 'mug' but category_info is of 'kettle'"):
        ObjectPose("mug", *values, category_info=KETTLE)


def test_a_configuration_without_categories_has_those_of_nocs(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("image_width: 224")
    names = [c.name for c in SeqPoseConfig.from_yaml(tmp_path / "config.yaml").categories]
    assert names == ["bottle", "bowl", "camera", "can", "laptop", "mug"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("name: mug", "categories has 'mug' 2 times"),
        ("name: ''", "category 2 has an empty name"),
        ("id: 7", "category 'kettle' has id 7; at position 2 it must be 2"),
        ("typical_size: [0.2, 0.0, 0.2]", r"typical_size of kettle is \(0.2, 0.0, 0.2\)"),
        ("typical_size: [0.2, 0.2]", "must have 3 entries"),
        ("colour: [0, 0, 256]", r"colour of kettle is \(0, 0, 256\)"),
        ("symmetric: 1", "must be a bool"),
        ("symetric: true", "did you mean 'symmetric'"),
    ],
)
def test_invalid_categories_raise_an_error(change: str, message: str, tmp_path: Path) -> None:
    mug = {"id": 1, "name": "mug", "symmetric": "false", "typical_size": [0.1, 0.1, 0.1], "colour": [1, 2, 3]}
    kettle = {**mug, "id": 2, "name": "kettle"}
    key, value = change.split(": ")
    rows = "\n".join(
        "  - {" + ", ".join(f"{k}: {v}" for k, v in row.items()) + "}" for row in (mug, kettle | {key: value})
    )
    (tmp_path / "config.yaml").write_text(f"categories:\n{rows}\n")
    with pytest.raises(ConfigError, match=message):
        SeqPoseConfig.from_yaml(tmp_path / "config.yaml")


def test_an_empty_list_of_categories_raises_an_error() -> None:
    with pytest.raises(ValueError, match="categories is empty"):
        replace(tiny_config(), categories=())
