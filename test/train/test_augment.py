# SPDX-License-Identifier: Apache-2.0
"""Augmentation and canonical labels are geometrically consistent."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from nocs_tree import write_tree
from scipy.spatial.transform import Rotation

from seqpose_core.camera import Camera
from seqpose_core.geometry import box_corners
from train.data import Augmentation, NocsClips, NocsLayout
from train.data.augment import NO_AUGMENTATION, ClipAugmentation, Window, centred_window, mirror_transform
from train.data.clips import ClipSample
from train.data.frame import SceneObject
from train.data.labels import canonicalize_objects, mirror_objects

GEOMETRY = replace(NO_AUGMENTATION, flip=0.5, crop=0.3)


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> NocsLayout:
    root = tmp_path_factory.mktemp("nocs")
    write_tree(root, clips=2, frames=3)
    return NocsLayout.open(root, "train")


def objects_of(sample: dict[str, torch.Tensor], frame: int) -> list[dict[str, np.ndarray]]:
    keys = ("classes", "rotation", "translation", "size", "instance")
    return [
        {key: sample[key][frame, slot].double().numpy() for key in keys}
        for slot in torch.nonzero(sample["classes"][frame] >= 0).ravel().tolist()
    ]


def make_object(class_id: int, seed: int, handle_visible: bool = True) -> SceneObject:
    random = np.random.default_rng(seed)
    rotation = Rotation.random(random_state=seed).as_matrix()
    translation = np.array([*random.uniform(-0.2, 0.2, 2), random.uniform(0.5, 1.2)])
    return SceneObject(class_id, 1, rotation, translation, random.uniform(0.05, 0.2, 3), handle_visible, 100)


# -- geometry of a mirrored and cropped clip ---------------------------------------------------------------


@given(seed=st.integers(0, 10_000))
@settings(max_examples=30, deadline=None)
def test_a_flip_mirrors_the_projected_corners(seed: int) -> None:
    item = make_object(5, seed)
    camera = Camera(210.0, 205.0, 108.3, 87.1, 224, 168)
    (other,) = mirror_objects([item])
    flipped = Window(0, 0, 224, 168, flip=True).camera(camera, 168, 224)
    assert np.linalg.det(other.rotation) == pytest.approx(1)
    corners = camera.project(box_corners(item.size) @ item.rotation.T + item.translation)
    reflected = (box_corners(item.size) * [1, 1, -1]) @ other.rotation.T + other.translation
    assert np.allclose(flipped.project(reflected), np.stack([223 - corners[:, 0], corners[:, 1]], 1), atol=1e-9)


def test_the_flipped_image_is_the_mirrored_image(layout: NocsLayout) -> None:
    image = layout.read(0, 0).image
    assert np.array_equal(Window(0, 0, 224, 168, flip=True).image(image, 168, 224), image[:, ::-1])


@pytest.mark.parametrize("flip", [False, True])
def test_a_pixel_keeps_its_ray_through_crop_and_resize(flip: bool) -> None:
    """A ramp image encodes the stored pixel: both cameras must have the same ray at corresponding pixels."""
    camera = Camera(210.0, 205.0, 108.3, 87.1, 224, 168)
    ramp = np.dstack(
        [np.tile(np.arange(224), (168, 1)), np.tile(np.arange(168)[:, None], (1, 224)), np.zeros((168, 224))]
    )
    window = Window(21, 13, 175, 131, flip)
    image = window.image(ramp.astype(np.uint8), 168, 224).astype(float)
    seen = window.camera(camera, 168, 224)
    for pixel in [(20, 20), (111, 83), (200, 140)]:
        source = image[pixel[1], pixel[0], :2]  # interpolation is linear, so the ramp stays one, rounded to integers
        ray_before, ray_after = camera.unproject(source, 1.0), seen.unproject(np.array(pixel), 1.0)
        assert np.allclose(ray_after * [-1 if flip else 1, 1, 1], ray_before, atol=0.6 / 205)


@pytest.mark.parametrize("augmentation", [None, GEOMETRY])
def test_labels_agree_with_each_other_after_flip_crop_and_canonicalization(
    layout: NocsLayout, augmentation: Augmentation | None
) -> None:
    """Depth back-projected with the new camera equals the points from NOCS map, rotation, translation and size."""
    clips = NocsClips([layout], augmentation=augmentation)
    for seed in range(12):
        sample = clips[ClipSample(seed % 2, (0, 1, 2), seed)]
        segmentation, depth = sample["segmentation"].numpy(), sample["depth"].double().numpy()
        cell_v, cell_u = np.mgrid[:48, :64]
        pixels = np.stack([(cell_u + 0.5) * 3.5 - 0.5, (cell_v + 0.5) * 3.5 - 0.5], -1)
        for frame in range(3):
            camera = Camera.from_matrix(sample["intrinsics"][frame].double().numpy(), 224, 168)
            points = camera.unproject(pixels, depth[frame])
            for item in objects_of(sample, frame):
                cells = segmentation[frame] == item["classes"] + 1
                nocs = sample["nocs"][frame].double().numpy()[:, cells].T - 0.5
                diagonal = np.linalg.norm(item["size"])
                expected = nocs * diagonal @ item["rotation"].T + item["translation"]
                assert cells.sum() > 10 and np.linalg.det(item["rotation"]) == pytest.approx(1, abs=1e-5)
                # A cell holds its nearest pixel, up to half a pixel (3 mm at 1 m) from its centre; on slanted faces
                # the difference along the ray is larger, so only the lateral part is bounded.
                lateral = np.abs(points[cells] - expected)[:, :2]
                assert np.median(lateral) < 0.003 and lateral.max() < 0.008
                assert (np.abs(nocs) * diagonal < item["size"] / 2 + 0.004).all()


def test_normals_are_mirrored_with_the_image(layout: NocsLayout) -> None:
    plain = NocsClips([layout])[ClipSample(0, (0,), 0)]["normals"]
    flip = replace(GEOMETRY, flip=1.0, crop=0.0)
    mirrored = NocsClips([layout], augmentation=flip)[ClipSample(0, (0,), 0)]["normals"]
    assert torch.equal(mirrored.flip(-1) * torch.tensor([-1.0, 1, 1])[:, None, None], plain)


def test_camera_motion_and_object_poses_stay_consistent_in_a_flipped_clip(layout: NocsLayout) -> None:
    """A static object has a constant position in the (mirrored) world."""
    flip = replace(GEOMETRY, flip=1.0)
    plain = NocsClips([layout])[ClipSample(1, (0, 1, 2), 4)]
    mirrored = NocsClips([layout], augmentation=flip)[ClipSample(1, (0, 1, 2), 4)]
    assert torch.allclose(torch.linalg.det(mirrored["camera_pose"][:, :3, :3]), torch.ones(3), atol=1e-5)
    for sample, sign in ((plain, 1.0), (mirrored, -1.0)):
        pose = sample["camera_pose"]
        world = torch.einsum("tij,tmj->tmi", pose[:, :3, :3], sample["translation"]) + pose[:, None, :3, 3]
        present = sample["classes"][0] >= 0
        assert torch.allclose(world[:, present], world[:1, present].expand(3, -1, -1), atol=1e-5)
        assert torch.allclose(world[0, 0], torch.tensor([sign * 0.15, 0.15, 0.1]), atol=1e-5)


def test_geometry_is_shared_by_a_clip_and_drawn_by_seed(layout: NocsLayout) -> None:
    clips = NocsClips([layout], augmentation=Augmentation())
    first, again, other = (clips[ClipSample(0, (0, 1, 2), seed)] for seed in (7, 7, 8))
    assert all(np.array_equal(first[key], again[key], equal_nan=True) for key in first)
    assert not torch.equal(first["image"], other["image"])
    assert torch.equal(first["intrinsics"], first["intrinsics"][:1].expand(3, 3, 3))
    assert not torch.equal(first["intrinsics"], other["intrinsics"])


@pytest.mark.parametrize(("probability", "least", "most"), [(0.0, 0, 0), (0.5, 12, 28), (1.0, 40, 40)])
def test_camera_poses_are_hidden_per_clip(layout: NocsLayout, probability: float, least: int, most: int) -> None:
    clips = NocsClips([layout], augmentation=replace(GEOMETRY, hide_pose=probability))
    known = [torch.isfinite(clips[ClipSample(0, (0, 1, 2), seed)]["camera_pose"]).flatten(1) for seed in range(40)]
    assert all(bool(k.all()) or not bool(k.any()) for k in known)
    assert least <= sum(not bool(k.any()) for k in known) <= most


def test_mirroring_twice_is_the_identity() -> None:
    pose = np.eye(4)
    pose[:3, :3] = Rotation.from_euler("xyz", [0.3, 0.5, -0.2]).as_matrix()
    pose[:3, 3] = [1, 2, 3]
    assert np.array_equal(mirror_transform(mirror_transform(pose)), pose)
    assert np.linalg.det(mirror_transform(pose)[:3, :3]) == pytest.approx(1)


# -- canonical labels --------------------------------------------------------------------------------------


@given(seed=st.integers(0, 10_000), class_id=st.sampled_from([1, 2, 4]))
@settings(max_examples=30, deadline=None)
def test_a_symmetric_label_has_the_camera_in_its_x_half_plane(seed: int, class_id: int) -> None:
    item = make_object(class_id, seed)
    (rotated,) = canonicalize_objects([item])
    eye = rotated.rotation.T @ -rotated.translation
    assert eye[2] == pytest.approx(0, abs=1e-9) and eye[0] >= 0
    assert np.allclose(rotated.rotation[:, 1], item.rotation[:, 1])
    assert rotated.size[0] == rotated.size[2] == pytest.approx((item.size[0] + item.size[2]) / 2)
    (mirror,) = mirror_objects([rotated])  # still canonical afterwards
    assert (mirror.rotation.T @ -mirror.translation)[2] == pytest.approx(0, abs=1e-9)


def test_only_symmetric_objects_are_rotated_and_mugs_with_hidden_handles_on_request() -> None:
    laptop, mug, hidden = make_object(5, 1), make_object(6, 2), make_object(6, 3, handle_visible=False)
    assert canonicalize_objects([laptop, mug, hidden]) == (laptop, mug, hidden)
    rotated = canonicalize_objects([laptop, mug, hidden], hidden_handles=True)
    assert rotated[:2] == (laptop, mug)
    assert (rotated[2].rotation.T @ -hidden.translation)[2] == pytest.approx(0, abs=1e-9)
    assert np.array_equal(rotated[2].size, hidden.size)


# -- colour ------------------------------------------------------------------------------------------------


def test_without_colour_changes_the_image_is_unchanged(layout: NocsLayout) -> None:
    image = layout.read(0, 0).image
    draw = ClipAugmentation.draw(GEOMETRY, np.random.default_rng(0))
    assert np.array_equal(draw.change_colours(image), image)


def test_noise_has_the_configured_standard_deviation_and_no_bias() -> None:
    draw = ClipAugmentation.draw(replace(GEOMETRY, noise=8.0), np.random.default_rng(0))
    grey = np.full((168, 224, 3), 128, np.uint8)
    deviations = []
    for _ in range(40):
        noise = draw.change_colours(grey).astype(float) - 128
        assert abs(noise.mean()) < 0.1
        deviations.append(noise.std())
    assert 6.5 < max(deviations) < 8.2 and min(deviations) < 1.5


def test_gain_scales_grey_and_saturation_keeps_luminance() -> None:
    gain = ClipAugmentation.draw(replace(GEOMETRY, gain=0.5), np.random.default_rng(3))
    grey = np.full((8, 8, 3), 100, np.uint8)
    level = gain.change_colours(grey)[0, 0]
    assert level[0] == level[1] == level[2] != 100 and 50 <= level[0] <= 150
    saturation = ClipAugmentation.draw(replace(GEOMETRY, saturation=0.9), np.random.default_rng(3))
    assert np.array_equal(saturation.change_colours(grey), grey)


@pytest.mark.parametrize("change", [{"flip": 1.2}, {"crop": 1.0}, {"noise": -1.0}, {"jpeg_quality": (90, 20)}])
def test_the_error_names_an_invalid_setting(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(change))):
        Augmentation(**change)  # type: ignore[arg-type]


def test_other_aspects_are_cropped_in_the_middle() -> None:
    assert centred_window(480, 848, 168, 224) == Window(104, 0, 640, 480)
    assert centred_window(480, 640, 168, 224) == Window(0, 0, 640, 480)
