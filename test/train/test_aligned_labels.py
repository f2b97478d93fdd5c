# SPDX-License-Identifier: Apache-2.0
"""Labels computed from NOCS maps, masks and depth, compared with the poses that the images were rendered with."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from nocs_miniature import write_nocs_miniature
from nocs_tree import Solid, camera_looking_at_origin
from scipy.spatial.transform import Rotation

from train.data import BrokenFrameError, Frame, NocsClips, SceneObject, open_layout
from train.data.clips import ClipSample
from train.data.nocs_layout import NocsLayout
from train.data.similarity import NoSimilarityError, robust_similarity

SPLITS = {"camera_train": 0, "camera_val": 1, "real_train": 2, "real_test": 3}  # split: number in the miniature


@pytest.fixture(scope="module")
def miniature(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, list[Solid]]]:
    """A miniature with nothing but what NOCS publishes, and the solids of each split in the world frame."""
    root = tmp_path_factory.mktemp("nocs")
    return root, write_nocs_miniature(root, relabelled=False)


def aligned(root: Path, split: str, cache: Path) -> NocsLayout:
    layout = open_layout(root, split, "aligned", aligned_cache=cache)
    assert isinstance(layout, NocsLayout)
    return layout


def errors(item: SceneObject, solid: Solid, camera: np.ndarray) -> tuple[float, float, float]:
    """Degrees, millimetres, and relative error of the size of a labelled object."""
    rotation = camera[:3, :3].T @ solid.rotation
    translation = camera[:3, :3].T @ (solid.translation - camera[:3, 3])
    angle = np.degrees(Rotation.from_matrix(item.rotation.T @ rotation).magnitude())
    shift = 1000 * np.linalg.norm(item.translation - translation)
    return float(angle), float(shift), float(np.abs(item.size / solid.size - 1).max())


def frame_errors(frame: Frame, split: str, solids: list[Solid]) -> dict[int, tuple[float, float, float]]:
    camera = camera_looking_at_origin(0.3 + SPLITS[split] + 0.1 * int(frame.name), 0.6, 0.8)
    by_instance = {solid.instance: solid for solid in solids}
    return {item.instance: errors(item, by_instance[item.instance], camera) for item in frame.objects}


@pytest.mark.parametrize("split", SPLITS)
def test_aligned_labels_are_the_rendered_poses(
    miniature: tuple[Path, dict[str, list[Solid]]], split: str, tmp_path: Path
) -> None:
    root, solids = miniature
    for frame in aligned(root, split, tmp_path).frames(0):
        found = frame_errors(frame, split, solids[split])
        assert sorted(found) == [1, 2, 3]
        for degrees, millimetres, size in found.values():
            # NOCS maps have 255 levels. A constant face may be off by half a level, 1/510 of the diagonal (0.55 mm of
            # 28 cm); the largest extent is 0.7 diagonals, so that its relative error is below 2/510/0.7.
            assert degrees < 0.3 and millimetres < 0.55 + 0.5 and size < 0.0056


@pytest.mark.parametrize("split", ["camera_val", "real_test"])
def test_aligned_labels_agree_with_the_published_gts(
    miniature: tuple[Path, dict[str, list[Solid]]], split: str, tmp_path: Path
) -> None:
    """The figures that docs/training.md states."""
    root, _ = miniature
    for frame, published in zip(
        aligned(root, split, tmp_path).frames(0), open_layout(root, split).frames(0), strict=True
    ):
        assert [(o.class_id, o.instance, o.model) for o in frame.objects] == [
            (o.class_id, o.instance, o.model) for o in published.objects
        ]
        for item, expected in zip(frame.objects, published.objects, strict=True):
            assert np.degrees(Rotation.from_matrix(item.rotation.T @ expected.rotation).magnitude()) < 0.2
            assert np.linalg.norm(item.translation - expected.translation) < 0.0005
            np.testing.assert_allclose(item.size, expected.size, rtol=0.003)
            assert item.visible_pixels == expected.visible_pixels


def test_noise_holes_and_borders_of_masks_are_tolerated(
    miniature: tuple[Path, dict[str, list[Solid]]], tmp_path: Path
) -> None:
    """Depth with 5 mm noise and 20 % holes; masks that extend 3 pixels over the background."""
    root, solids = miniature
    shutil.copytree(root, tmp_path / "nocs")
    random = np.random.default_rng(0)
    stem = tmp_path / "nocs/real/train/scene_1/0000"
    depth = cv2.imread(f"{stem}_depth.png", cv2.IMREAD_UNCHANGED).astype(float)
    depth += random.normal(0, 5, depth.shape)
    depth[random.random(depth.shape) < 0.2] = 0
    cv2.imwrite(f"{stem}_depth.png", depth.clip(0).astype(np.uint16))
    mask = cv2.imread(f"{stem}_mask.png")
    for instance in (1, 2, 3):
        grown = cv2.dilate((mask[..., 2] == instance).astype(np.uint8), np.ones((7, 7), np.uint8)) > 0
        mask[grown & (mask[..., 2] == 255)] = (0, 0, instance)
    cv2.imwrite(f"{stem}_mask.png", mask)
    frame = aligned(tmp_path / "nocs", "real_train", tmp_path / "cache").read(0, 0)
    found = frame_errors(frame, "real_train", solids["real_train"])
    assert sorted(found) == [1, 2, 3]
    for degrees, millimetres, size in found.values():
        assert degrees < 1 and millimetres < 3 and size < 0.03


def test_a_similarity_is_found_exactly_among_outliers() -> None:
    random = np.random.default_rng(1)
    source = random.uniform(-0.5, 0.5, (500, 3))
    rotation = Rotation.from_euler("xyz", [0.4, -1.2, 2.5]).as_matrix()
    target = 0.3 * source @ rotation.T + [0.1, -0.2, 0.9]
    target[:225] += random.uniform(0.05, 0.3, (225, 3))  # 45 %
    found = robust_similarity(source, target)
    assert found.inliers == pytest.approx(0.55, abs=0.01) and found.scale == pytest.approx(0.3, abs=1e-12)
    np.testing.assert_allclose(found.rotation, rotation, atol=1e-12)
    np.testing.assert_allclose(found.translation, [0.1, -0.2, 0.9], atol=1e-12)


LINE = np.linspace(0, 1, 300).reshape(100, 3) * [1, 0, 0]


@pytest.mark.parametrize(
    ("source", "target", "reason"),
    [
        (np.zeros((3, 3)), np.zeros((3, 3)), "3 points do not determine"),
        (
            np.linspace(0, 1, 300).reshape(100, 3) * [1, 0, 0],
            np.linspace(0, 1, 300).reshape(100, 3) * [1, 0, 0],
            "line",
        ),
        (np.full((100, 3), 0.2), np.full((100, 3), 0.7), "0% of 100 points agree"),
        (np.random.default_rng(0).random((100, 3)), np.random.default_rng(1).random((100, 3)), "of 100 points agree"),
    ],
)
def test_points_without_a_similarity_are_refused(source: np.ndarray, target: np.ndarray, reason: str) -> None:
    with pytest.raises(NoSimilarityError, match=reason):
        robust_similarity(source, target)


def damage(root: Path, part: str, instances: tuple[int, ...]) -> None:
    """Overwrite the pixels of these instances in frame 0 of real_train with random values."""
    stem = root / "real/train/scene_1/0000"
    image = cv2.imread(f"{stem}_{part}.png", cv2.IMREAD_UNCHANGED)
    where = np.isin(cv2.imread(f"{stem}_mask.png")[..., 2], instances)
    image[where] = np.random.default_rng(0).integers(0, 255, image[where].shape)
    cv2.imwrite(f"{stem}_{part}.png", image)


def test_objects_that_cannot_be_aligned_are_left_out_and_counted(
    miniature: tuple[Path, dict[str, list[Solid]]], tmp_path: Path
) -> None:
    root = tmp_path / "nocs"
    shutil.copytree(miniature[0], root)
    damage(root, "coord", (2,))
    layout = aligned(root, "real_train", tmp_path / "cache")
    assert [[item.instance for item in frame.objects] for frame in layout.frames(0)] == [[1, 3], [1, 2, 3]]
    ((name, reason),) = layout.left_out.items()
    assert name == "scene_1/0000 instance 2" and "points agree with a pose; 50% are needed" in reason
    assert "1 objects without a label" in layout.report() and layout.report().startswith("0 of 2 frames skipped")
    sample = NocsClips([aligned(root, "real_train", tmp_path / "cache")])[ClipSample(0, (0, 1), 0)]
    assert sample["left_out"] == [f"{name}: {reason}"] and sample["broken"] == []
    damage(root, "depth", (1, 3))
    layout = aligned(root, "real_train", tmp_path / "cache")
    with pytest.raises(BrokenFrameError, match=r"0000_coord\.png: no object can be aligned: instance 1: only"):
        layout.read(0, 0)


def test_results_are_stored_in_the_cache_only_and_changed_data_is_computed_again(
    miniature: tuple[Path, dict[str, list[Solid]]], tmp_path: Path
) -> None:
    root, cache = tmp_path / "nocs", tmp_path / "cache"
    shutil.copytree(miniature[0], root)
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    first = [frame.objects for frame in aligned(root, "real_train", cache).frames(0)]
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == before
    stored = sorted(cache.rglob("*.json"))
    assert len(stored) == 2
    for path in stored:  # a changed result shows that the cache is read
        result = json.loads(path.read_text())
        result["aligned"]["1"]["translation"][2] += 1
        path.write_text(json.dumps(result))
    again = aligned(root, "real_train", cache).read(0, 0).objects
    assert again[0].translation[2] == pytest.approx(first[0][0].translation[2] + 1)
    size = root / "obj_models/real_train/real_train_1.txt"
    size.write_text("0.1 0.1 0.1\n")  # not part of the stored result
    cube = aligned(root, "real_train", cache).read(0, 0).objects[0].size
    np.testing.assert_allclose(cube, np.linalg.norm(first[0][0].size) / np.sqrt(3), rtol=1e-9)
    damage(root, "depth", (2,))
    changed = aligned(root, "real_train", cache).read(0, 0).objects
    assert len(list(cache.rglob("*.json"))) == 3
    assert changed[0].translation[2] == pytest.approx(first[0][0].translation[2])
    stored[0].write_text("{")
    assert len(list(aligned(root, "real_train", cache).frames(0))) == 2


def test_a_model_without_a_size_is_named(miniature: tuple[Path, dict[str, list[Solid]]], tmp_path: Path) -> None:
    shutil.copytree(miniature[0], tmp_path / "nocs")
    (tmp_path / "nocs/obj_models/real_train/real_train_6.txt").unlink()
    layout = aligned(tmp_path / "nocs", "real_train", tmp_path / "cache")
    assert list(layout.frames(0)) == []
    assert "meta.txt: names a model without a size: " in layout.report() and "real_train_6.txt" in layout.report()


def test_camera_motion_is_estimated_from_aligned_labels(
    miniature: tuple[Path, dict[str, list[Solid]]], tmp_path: Path
) -> None:
    layout = open_layout(miniature[0], "real_train", "aligned", motion_from_labels=True, aligned_cache=tmp_path)
    first, second = (layout.read(0, index).camera_pose for index in range(2))
    assert first is not None and second is not None
    expected = np.linalg.inv(camera_looking_at_origin(2.3, 0.6, 0.8)) @ camera_looking_at_origin(2.4, 0.6, 0.8)
    np.testing.assert_allclose(np.linalg.inv(first) @ second, expected, atol=0.005)


def test_sets_in_our_own_layout_have_no_aligned_labels(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="has labels of the kind 'gts'; 'aligned' ones exist for camera_train"):
        open_layout(tmp_path, "train", "aligned")
