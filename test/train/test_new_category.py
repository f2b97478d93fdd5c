# SPDX-License-Identifier: Apache-2.0
"""A category of one's own: meshes, scenes with them, the extended network, and the complete command."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from kettle_meshes import write_kettles
from tiny import frames, tiny_config, tiny_model

pytest.importorskip("moderngl")

import render_rig
import trimesh

from seqpose_core import Category, PoseEstimator, SeqPose, checkpoint, config_io
from train.data.sampler import Stage
from train.fit.config import ComputeConfig, DataConfig, OptimizerConfig, TrainConfig
from train.new_category.__main__ import main
from train.new_category.extend import blend, extend_network
from train.render.mesh_category import MeshCategory, category_mesh, find_meshes, mean_extents
from train.render.scene import Scene, sample_scene
from train.render.splits import split_settings

KETTLE = Category(7, "kettle", False, (0.22, 0.19, 0.15), (0, 150, 136))


@pytest.fixture(scope="module")
def kettles(tmp_path_factory: pytest.TempPathFactory) -> MeshCategory:
    folder = tmp_path_factory.mktemp("kettles")
    write_kettles(folder, 6)
    return MeshCategory("kettle", find_meshes(folder))


def test_the_extended_network_predicts_the_other_categories_as_before() -> None:
    model = tiny_model()
    larger = extend_network(model, KETTLE)
    images, intrinsics = frames(2)
    with torch.no_grad():
        (before, _), (after, _) = model(images, intrinsics), larger(images, intrinsics)
    old, new = before.layers[-1], after.layers[-1]
    torch.testing.assert_close(new.logits[..., :6], old.logits)
    assert (new.logits[..., 6].sigmoid() < 0.02).all()
    for name in ("translation", "rotation", "size", "log_scale"):
        torch.testing.assert_close(getattr(new, name), getattr(old, name))
    assert before.centre is not None and after.centre is not None
    torch.testing.assert_close(after.centre.heat[:, :6], before.centre.heat)
    torch.testing.assert_close(after.centre.offset, before.centre.offset)
    assert before.dense is not None and after.dense is not None
    torch.testing.assert_close(after.dense.segmentation[:, :7], before.dense.segmentation)
    torch.testing.assert_close(after.dense.nocs, before.dense.nocs)


def test_a_blend_is_the_mean_of_the_weights_with_the_tuned_rows_of_the_new_category() -> None:
    start = extend_network(tiny_model(), KETTLE)
    tuned = SeqPose(start.config)
    tuned.load_state_dict({name: tensor + 1 for name, tensor in start.state_dict().items()})
    before, after = start.state_dict(), blend(start, tuned, 0.25).state_dict()
    up = start.config.dense.upscale**2
    for name, tensor in before.items():
        expected = torch.full_like(tensor, 0.25)
        if name.startswith("dense_heads.out."):
            expected[7 * up : 8 * up] = 1  # after background and the six
        elif "classify" in name or name.startswith(("centre_head.out.", "proposal_class.")):
            expected[6] = 1
        torch.testing.assert_close(after[name] - tensor, expected, atol=1e-5, rtol=0, msg=name)


def test_a_network_with_a_pose_per_category_is_refused() -> None:
    config = tiny_config()
    model = SeqPose(replace(config, head=replace(config.head, per_category=True)))
    with pytest.raises(ValueError, match="per_category is true"):
        extend_network(model, KETTLE)


def test_meshes_are_turned_and_scaled_to_the_object_frame(tmp_path: Path) -> None:
    # 60 x 80 x 240 mm, z up; in the object frame y is up, x keeps its direction and z is -y of the file.
    box = trimesh.creation.box([60, 80, 240])
    box.apply_translation([500, 0, 0])
    box.export(tmp_path / "box.stl")
    category = MeshCategory("jerrycan", find_meshes(tmp_path), unit=0.001, up="z", variation=0.0)
    mesh = category_mesh(category, "train", 0)
    np.testing.assert_allclose(mesh.extents, [0.06, 0.24, 0.08], atol=1e-6)
    np.testing.assert_allclose(mesh.vertices.max(axis=0) + mesh.vertices.min(axis=0), 0, atol=1e-9)
    # The normals of a box are those of its faces.
    a, b, c = (mesh.vertices[mesh.faces[:, i]] for i in range(3))
    normal = np.cross(b - a, c - a)
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    np.testing.assert_allclose(mesh.normals[mesh.faces].mean(axis=1), normal, atol=1e-5)
    assert mean_extents(category) == pytest.approx((0.06, 0.24, 0.08))


def test_every_fifth_mesh_is_kept_for_validation(kettles: MeshCategory) -> None:
    train, val = kettles.files_of_pool("train"), kettles.files_of_pool("val")
    assert [p.stem for p in val] == ["kettle_04"]
    assert len(train) == 5 and not set(train) & set(val)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"unit": 1.0}, "240 m large with unit 1; .* 0.001 for millimetres"),
        ({"name": "mug"}, "name is 'mug', which the renderer draws already"),
        ({"surfaces": ("cheese",)}, r"surfaces has \['cheese'\]"),
    ],
)
def test_errors_name_the_value(tmp_path: Path, options: dict, message: str) -> None:
    trimesh.creation.box([60, 80, 240]).export(tmp_path / "box.ply")
    with pytest.raises(ValueError, match=message):
        mean_extents(MeshCategory(**{"name": "jerrycan", "files": find_meshes(tmp_path), "unit": 0.001} | options))


def test_a_file_that_is_no_mesh_is_named(tmp_path: Path) -> None:
    (tmp_path / "bad.glb").write_bytes(b"glTF")
    with pytest.raises(ValueError, match=r"bad\.glb cannot be read as a mesh"):
        mean_extents(MeshCategory("jerrycan", find_meshes(tmp_path)))
    with pytest.raises(ValueError, match="has no mesh"):
        find_meshes(tmp_path / "missing")


def scenes(added: MeshCategory | None, count: int) -> list[Scene]:
    resources = render_rig.open_resources()
    split = replace(split_settings("test"), added=added)
    return [
        sample_scene(np.random.default_rng(seed), split, resources.textures, resources.environments)
        for seed in range(count)
    ]


def test_scenes_have_the_category_upright_among_the_others(kettles: MeshCategory) -> None:
    objects = [item for scene in scenes(kettles, 40) for item in scene.objects]
    mine = [item for item in objects if item.kind == "kettle"]
    assert {item.class_id for item in mine} == {7}
    known = [item for item in objects if item.class_id]
    assert len(mine) / len(known) == pytest.approx(kettles.share, abs=0.12)
    lowest = [(i.mesh.vertices @ i.world_from_object[:3, :3].T + i.world_from_object[:3, 3])[:, 2].min() for i in mine]
    standing = [item for item, low in zip(mine, lowest, strict=True) if abs(low) < 1e-6]
    assert len(standing) > 0.7 * len(mine)
    upright = [item for item in standing if item.world_from_object[2, 1] > 1 - 1e-9]
    assert len(upright) > 0.8 * len(standing)  # the others lean on something


@pytest.mark.slow
@pytest.mark.timeout(900)  # renders in processes of their own, trains, and exports two networks
def test_the_command_makes_a_checkpoint_with_seven_categories(
    kettles: MeshCategory, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    start = checkpoint.save(tiny_model(), tmp_path / "tiny")
    config = TrainConfig(
        model=tiny_config(),
        data=DataConfig(label_size=(24, 32), workers=0),
        optimizer=OptimizerConfig(warmup_steps=2),
        compute=ComputeConfig(accelerator="cpu"),
        stages=(Stage(100, 1, 4), Stage(200, 2, 2)),
        frozen_parts=("encoder",),
    )
    (tmp_path / "tiny.yaml").write_text(config_io.dump_yaml(config))
    arguments = ["--meshes", str(kettles.files[0].parent), "--name", "kettle", "--checkpoint", str(start)]
    arguments += ["--config", str(tmp_path / "tiny.yaml"), "--out", str(tmp_path / "out")]
    main([*arguments, "--clips", "3", "--val-clips", "1", "--frames", "2", "--steps", "4"])
    assert "kettle" in capsys.readouterr().out
    estimator = PoseEstimator.from_pretrained(tmp_path / "out" / "checkpoint", runtime="eager")
    assert [c.name for c in estimator.categories][5:] == ["mug", "kettle"]
    assert estimator.categories[6].typical_size == pytest.approx(mean_extents(kettles), rel=1e-6)
    before, after = (checkpoint.load(folder).state_dict() for folder in (start, tmp_path / "out" / "checkpoint"))
    for name, tensor in before.items():
        if name.startswith("encoder."):
            torch.testing.assert_close(after[name], tensor)
    assert not torch.equal(after["heads.1.classify.weight"][:6], before["heads.1.classify.weight"])
