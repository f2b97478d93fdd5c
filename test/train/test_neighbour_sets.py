# SPDX-License-Identifier: Apache-2.0
"""HouseCat6D and Wild6D are read for evaluation: poses, sizes and depth agree with what was rendered."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from neighbour_sets import FRAMES, MATRIX, poses, write_housecat6d, write_wild6d
from nocs_tree import Solid
from tiny import tiny_model

from seqpose_core import Camera, checkpoint
from train.data import Frame, Layout, open_layout
from train.evaluate import __main__ as evaluate
from train.fit.config import SetConfig


def assert_rendered(frame: Frame, solid: Solid, number: int) -> None:
    """The label of a solid is its rendered pose, and the depth of its pixels is on its surface."""
    (item,) = (o for o in frame.objects if o.class_id == solid.class_id)
    _, (rotation,), (translation,) = poses([solid], number)
    np.testing.assert_allclose(item.rotation, rotation, atol=1e-6)
    np.testing.assert_allclose(item.translation, translation, atol=1e-6)
    np.testing.assert_allclose(item.size, solid.size, atol=1e-9)
    assert frame.camera == Camera.from_matrix(MATRIX, 224, 168)
    rows, columns = np.nonzero(frame.mask == item.instance)
    assert item.visible_pixels == len(rows) > 100
    seen = frame.camera.unproject(np.stack([columns, rows], 1), frame.depth[rows, columns])
    local = np.abs((seen - item.translation) @ item.rotation) / (item.size / 2)
    on_surface = np.linalg.norm(local, axis=1) if solid.is_round else local.max(axis=1)
    assert np.abs(on_surface - 1).max() < 0.02  # half a millimetre of depth on half an extent of 4 cm or more


def test_housecat6d_is_read_and_cups_and_boxes_are_counted(tmp_path: Path) -> None:
    bottle = next(s for s in write_housecat6d(tmp_path) if s.class_id == 1)
    layout = open_layout(tmp_path, "housecat6d_test")
    assert [(clip.scene, clip.frames) for clip in layout.clips] == [("test_scene1", ("000000", "000001"))]
    for number, frame in enumerate(layout.frames(0)):
        assert [o.class_id for o in frame.objects] == [1]
        assert_rendered(frame, bottle, number)
    assert layout.report().splitlines() == [
        "0 of 2 frames skipped",
        "objects of other categories are not evaluated: 1 box, 1 cup",
    ]


@pytest.mark.parametrize("scale", [1.0, 0.25])
def test_wild6d_is_read(scale: float, tmp_path: Path) -> None:
    solids = write_wild6d(tmp_path, scale)
    for root in (tmp_path, tmp_path / "test_set"):
        layout = open_layout(root, "wild6d_test")
        # The list of mugs has frame 1 only.
        assert [(c.scene, c.frames) for c in layout.clips] == [("laptop-0001-2", ("0", "1")), ("mug-0001-2", ("1",))]
        for clip, numbers in ((0, (0, 1)), (1, (1,))):
            for frame, number in zip(layout.frames(clip), numbers, strict=True):
                assert_rendered(frame, solids["laptop" if clip == 0 else "mug"], number)
        assert layout.broken == {} and layout.notes == []


def test_a_video_of_another_category_is_counted(tmp_path: Path) -> None:
    write_wild6d(tmp_path)
    (tmp_path / "test_set/mug").rename(tmp_path / "test_set/teapot")
    assert open_layout(tmp_path, "wild6d_test").notes == ["videos of other categories are not evaluated: 1 teapot"]


def change(path: Path, edit: Callable[[dict[str, object]], object]) -> None:
    content = pickle.loads(path.read_bytes())
    edit(content)
    path.write_bytes(pickle.dumps(content))


def housecat6d(root: Path) -> Layout:
    write_housecat6d(root)
    return open_layout(root, "housecat6d_test")


def wild6d(root: Path) -> Layout:
    write_wild6d(root)
    return open_layout(root, "wild6d_test")


LABEL = "test_scene1/labels/000000_label.pkl"
LAPTOP = "test_set/laptop/0001/2"
ANNOTATIONS = "test_set/pkl_annotations/laptop/laptop-0001-2.pkl"
DAMAGE: list[tuple[Callable[[Path], Layout], Callable[[Path], object], str]] = [
    (housecat6d, lambda root: (root / LABEL).unlink(), "000000_label.pkl: is missing"),
    (housecat6d, lambda root: change(root / LABEL, lambda c: c.pop("rotations")), "label.pkl: KeyError: 'rotations'"),
    (housecat6d, lambda root: change(root / LABEL, lambda c: c.update(gt_scales=np.full((3, 3), np.nan))), "finite"),
    (housecat6d, lambda root: (root / "test_scene1/meta.txt").write_text("1 2"), "line '1 2' is not 'instance class"),
    (housecat6d, lambda root: (root / "test_scene1/intrinsics.txt").unlink(), "intrinsics.txt: is missing"),
    (housecat6d, lambda root: (root / "test_scene1/meta.txt").write_text("7 2 bottle-a"), "is not listed in meta.txt"),
    (
        housecat6d,
        lambda root: cv2.imwrite(str(root / "test_scene1/depth/000000.png"), np.zeros((9, 9), np.uint16)),
        "000000.png: is 9x9 but the image is 224x168",
    ),
    (wild6d, lambda root: (root / ANNOTATIONS).unlink(), "laptop-0001-2.pkl: is missing"),
    (wild6d, lambda root: change(root / ANNOTATIONS, lambda c: c["annotations"].clear()), "0 annotations, none of"),
    (wild6d, lambda root: change(root / ANNOTATIONS, lambda c: c["annotations"].reverse()), "which is another frame"),
    (wild6d, lambda root: (root / ANNOTATIONS).write_bytes(b"cposix\nsystem\n(S'true'\ntR."), "system is refused"),
    (wild6d, lambda root: (root / LAPTOP / "metadata").write_text('{"K": [1, 2]}'), "has no matrix K of nine numbers"),
    (wild6d, lambda root: (root / LAPTOP / "metadata").write_text(json.dumps({"K": [1] * 9})), "expected intrinsics"),
    (wild6d, lambda root: (root / LAPTOP / "images/0-mask.png").unlink(), "0-mask.png: is missing"),
]


@pytest.mark.parametrize(
    ("make", "damage", "reason"), DAMAGE, ids=lambda value: value if isinstance(value, str) else ""
)
def test_a_broken_frame_is_skipped_counted_and_named(
    make: Callable[[Path], Layout], damage: Callable[[Path], object], reason: str, tmp_path: Path
) -> None:
    layout = make(tmp_path)
    damage(tmp_path)
    assert len(list(layout.frames(0))) < FRAMES
    assert reason in next(iter(layout.broken.values()))


def test_evaluation_names_the_data_and_what_is_not_evaluated(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = checkpoint.save(tiny_model(), tmp_path / "tiny")
    write_housecat6d(tmp_path / "housecat")
    write_wild6d(tmp_path / "wild")
    for root, split, name, count in (
        ("housecat", "housecat6d_test", "HouseCat6D, test, bottle and can only", ("bottle", FRAMES)),
        ("wild", "wild6d_test", "Wild6D, test", ("laptop", FRAMES)),
    ):
        out = tmp_path / "out" / root
        arguments = ["--checkpoint", str(weights), "--data", str(tmp_path / root), "--split", split, "--out", str(out)]
        evaluate.main([*arguments, "--workers", "1", "--min-score", "0"])
        metrics = json.loads((out / "metrics.json").read_text())
        assert metrics["data"] == name and metrics["skipped"] == {}
        assert metrics["ap"]["multi oriented"]["ground_truths"][count[0]] == count[1]
    printed = capsys.readouterr().out
    assert (
        "HouseCat6D, test, bottle and can only: objects of other categories are not evaluated: 1 box, 1 cup" in printed
    )


def test_an_empty_root_and_a_wrong_use_are_refused(tmp_path: Path) -> None:
    with pytest.raises(
        FileNotFoundError, match=r"holds no test_scene\*/rgb/000000\.png; unzip the scenes of HouseCat6D"
    ):
        open_layout(tmp_path, "housecat6d_test")
    with pytest.raises(FileNotFoundError, match=r"holds no <category>/<object>/<video>.*unzip Wild6D's test set"):
        open_layout(tmp_path, "wild6d_test")
    with pytest.raises(ValueError, match=r"wild6d_test, which has no NOCS maps; use it with train\.evaluate"):
        SetConfig("wild6d_test")
