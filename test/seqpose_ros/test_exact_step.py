# SPDX-License-Identifier: Apache-2.0
"""The step is exact on recorded images: the number of proposals, the batch and invalid queries affect no result.

Random images cannot show this: their heat maps have more peaks than there are proposals.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from seqpose_core import QueryMemory, SeqPose, checkpoint
from seqpose_core.model import seqpose
from seqpose_core.model.pose_head import ObjectPrediction
from seqpose_core.model.proposals import Proposals, find_peaks, select_proposals
from seqpose_core.model.seqpose import Prediction
from seqpose_ros.bags.bag import Bag

BAG = Path(__file__).parents[2] / "seqpose_ros/data/demo_bag"
FRAMES = 4
OUTPUTS = ("logits", "translation", "rotation", "size", "log_scale")


@pytest.fixture(scope="module")
def model() -> SeqPose:
    return checkpoint.load("seqpose-lite2").eval()


@pytest.fixture(scope="module")
def recorded(model: SeqPose) -> list[tuple[Tensor, Tensor]]:
    """Images (1, 3, H, W) and intrinsics (1, 3, 3) of the first frames of the bundled bag."""
    width, height = model.config.image_width, model.config.image_height
    frames = []
    with Bag(BAG) as bag:
        for frame in islice(bag.frames(), FRAMES):
            image = cv2.resize(frame.image, (width, height), interpolation=cv2.INTER_AREA)
            pixels = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255
            matrix = frame.camera.resized(width, height).matrix.astype(np.float32)
            frames.append((pixels, torch.from_numpy(matrix)[None]))
    return frames


def with_proposals(model: SeqPose, proposals: int) -> SeqPose:
    """The same weights with another number of proposals; no weight depends on it."""
    queries = replace(model.config.queries, proposals=proposals)
    other = SeqPose(replace(model.config, queries=queries)).eval()
    other.load_state_dict(model.state_dict())
    return other


@torch.no_grad()
def run(model: SeqPose, recorded: list[tuple[Tensor, Tensor]]) -> tuple[list[Prediction], QueryMemory]:
    """All frames in sequence at 10 Hz, with a camera that moves 1 cm per frame."""
    predictions, memory = [], None
    for index, (images, intrinsics) in enumerate(recorded):
        pose = torch.eye(4).repeat(len(images), 1, 1)
        pose[:, 0, 3] = 0.01 * index
        stamp = torch.full((len(images),), 0.1 * index, dtype=torch.float64)
        prediction, memory = model(images, intrinsics, memory, pose, stamp, dense=False)
        predictions.append(prediction)
    assert memory is not None
    return predictions, memory


def valid_objects(prediction: Prediction, sample: int = 0) -> dict[str, Tensor]:
    valid = prediction.valid[sample]
    return {name: getattr(prediction.objects, name)[sample, valid] for name in OUTPUTS}


def assert_equal(first: dict[str, Tensor], second: dict[str, Tensor]) -> None:
    for name in OUTPUTS:
        torch.testing.assert_close(first[name], second[name], atol=1e-5, rtol=1e-5, msg=lambda m, n=name: f"{n}: {m}")


def assert_equal_memory(first: QueryMemory, second: QueryMemory, sample: int = 0) -> None:
    assert torch.equal(first.valid[0], second.valid[sample])
    for name in ("embedding", "reference"):
        a, b = getattr(first, name)[0], getattr(second, name)[sample]
        torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-4, msg=lambda m, n=name: f"{n}: {m}")


def test_recorded_frames_have_fewer_peaks_than_proposals(model: SeqPose, recorded: list[tuple[Tensor, Tensor]]) -> None:
    """The condition that makes the other tests meaningful."""
    for prediction in run(model, recorded)[0]:
        proposals = model.config.queries.proposals
        assert not prediction.valid[:, :proposals].all()


@pytest.mark.parametrize("proposals", [48, 64])
def test_result_does_not_depend_on_the_number_of_proposals(
    proposals: int, model: SeqPose, recorded: list[tuple[Tensor, Tensor]]
) -> None:
    expected, expected_memory = run(model, recorded)
    actual, memory = run(with_proposals(model, proposals), recorded)
    for a, b in zip(expected, actual, strict=True):
        assert int(a.valid.sum()) == int(b.valid.sum())
        assert_equal(valid_objects(a), valid_objects(b))
    assert_equal_memory(expected_memory, memory)


def test_batch_equals_single_samples(model: SeqPose, recorded: list[tuple[Tensor, Tensor]]) -> None:
    """A batch of two streams: the frames forwards and backwards."""
    backwards = recorded[::-1]
    pairs = [
        tuple(torch.cat(both) for both in zip(a, b, strict=True)) for a, b in zip(recorded, backwards, strict=True)
    ]
    together, memory = run(model, pairs)  # type: ignore[arg-type]
    for sample, stream in enumerate((recorded, backwards)):
        single, single_memory = run(model, stream)
        for a, b in zip(single, together, strict=True):
            assert torch.equal(a.valid[0], b.valid[sample])
            assert_equal(valid_objects(a), valid_objects(b, sample))
        assert_equal_memory(single_memory, memory, sample)


def test_invalid_queries_affect_no_result(
    model: SeqPose, recorded: list[tuple[Tensor, Tensor]], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected, expected_memory = run(model, recorded)

    def perturbed(*arguments: object) -> Proposals:
        proposals = select_proposals(*arguments)  # type: ignore[arg-type]
        invalid = ~proposals.valid
        assert invalid.any()
        return replace(
            proposals,
            cell=torch.where(invalid, 5, proposals.cell),
            category=torch.where(invalid, 3, proposals.category),
            reference=torch.where(invalid[..., None], torch.tensor([0.1, 0.2, 0.3]), proposals.reference),
        )

    monkeypatch.setattr(seqpose, "select_proposals", perturbed)
    actual, memory = run(model, recorded)
    for a, b in zip(expected, actual, strict=True):
        assert_equal(valid_objects(a), valid_objects(b))
        assert (b.objects.logits[~b.valid].sigmoid() == 0).all()
    assert_equal_memory(expected_memory, memory)


def test_of_more_peaks_than_proposals_the_highest_are_used(
    model: SeqPose, recorded: list[tuple[Tensor, Tensor]]
) -> None:
    with torch.no_grad():
        heat = model.encode(*recorded[0]).centre.heat.amax(1)  # type: ignore[union-attr]
    highest = heat[find_peaks(heat)].sort(descending=True).values[:6]
    few, _ = run(with_proposals(model, 6), recorded[:1])
    many, _ = run(model, recorded[:1])
    assert int(few[0].valid.sum()) == 6 and int(many[0].valid.sum()) > 6
    centre = few[0].centre
    assert centre is not None
    cells = select_proposals(centre, 6, seqpose.Pinhole(recorded[0][1], model.image_size), 1.0).cell
    torch.testing.assert_close(heat.flatten(1).gather(1, cells)[0].sort(descending=True).values, highest)


def test_of_equal_neighbours_the_first_cell_is_the_peak() -> None:
    heat = torch.zeros(1, 4, 5)
    heat[0, 1, 1] = heat[0, 1, 2] = heat[0, 2, 0] = 2.0  # a plateau: (2, 0) is below left of (1, 1)
    heat[0, 3, 4] = 1.0
    # The zeros are no peak: their plateau touches higher cells.
    assert find_peaks(heat)[0].nonzero().tolist() == [[1, 1], [3, 4]]
    assert find_peaks(torch.zeros(1, 4, 5))[0].nonzero().tolist() == [[0, 0]], "a constant map has one peak"


def test_of_equal_peaks_those_with_the_lowest_cell_index_are_used() -> None:
    heat = torch.full((1, 6, 9, 9), -4.0)
    heat[0, 2, ::2, ::2] = 1.0  # 25 isolated equal peaks, every second cell of every second row
    expected = [9 * row + column for row in range(0, 9, 2) for column in range(0, 9, 2)]
    centre = seqpose.CentrePrediction(heat, torch.zeros(1, 9, 9), torch.zeros(1, 2, 9, 9))
    pinhole = seqpose.Pinhole(torch.eye(3)[None], torch.tensor([90.0, 90.0]))
    for count in (5, 25, 40):
        proposals = select_proposals(centre, count, pinhole, 1.0)
        assert proposals.cell[0, :25].tolist() == expected[:count]
        assert int(proposals.valid.sum()) == min(count, 25)


def test_scores_of_invalid_queries_are_zero_in_every_layer(
    model: SeqPose, recorded: list[tuple[Tensor, Tensor]]
) -> None:
    (prediction,), _ = run(model, recorded[:1])
    layers: tuple[ObjectPrediction, ...] = prediction.layers
    for layer in layers:
        assert (layer.logits[~prediction.valid].sigmoid() == 0).all()
