# SPDX-License-Identifier: Apache-2.0
"""Initial weights: a full checkpoint or parts of one, and frozen parts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny import frames, tiny_config, tiny_model

from seqpose_core import checkpoint
from seqpose_core.model.config import HeadConfig
from seqpose_core.model.seqpose import SeqPose
from seqpose_core.weights import CheckpointError
from train.fit.config import TrainConfig
from train.fit.initial_weights import freeze, load_initial_weights, part_names
from train.fit.optimizer import make_optimizer


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoint.save(tiny_model(seed=1), tmp_path_factory.mktemp("trained"))


def equal_parts(one: SeqPose, other: SeqPose) -> set[str]:
    """Names of the parts with equal weights."""
    theirs = other.state_dict()
    different = {k.split(".")[0] for k, held in one.state_dict().items() if not torch.equal(held, theirs[k])}
    return set(part_names(one)) - different


def test_all_weights_are_loaded_from_a_checkpoint(trained: Path) -> None:
    model = tiny_model(seed=2)
    load_initial_weights(model, TrainConfig(model=model.config, init_from=str(trained)))
    source = checkpoint.load(trained)
    assert all(torch.equal(value, source.state_dict()[name]) for name, value in model.state_dict().items())


def test_only_the_named_parts_are_loaded(trained: Path) -> None:
    model = tiny_model(seed=2)
    assert equal_parts(model, checkpoint.load(trained)) == set()
    load_initial_weights(
        model, TrainConfig(model=model.config, init_from=str(trained), init_parts=("encoder", "fusion"))
    )
    assert equal_parts(model, checkpoint.load(trained)) == {"encoder", "fusion"}


def test_learned_anchors_can_be_loaded_and_frozen(trained: Path) -> None:
    model = tiny_model(seed=2)
    names = ("anchor_reference", "anchor_embedding")
    config = TrainConfig(model=model.config, init_from=str(trained), init_parts=names, frozen_parts=names)
    load_initial_weights(model, config)
    assert equal_parts(model, checkpoint.load(trained)) == set(names)
    freeze(model, names)
    assert not model.anchor_reference.requires_grad


@pytest.mark.parametrize(
    ("head", "message"),
    [
        (HeadConfig(translation="direct"), "was trained with head.translation 'projected'; this network has 'direct'"),
        (HeadConfig(rotation="allocentric"), "head.rotation 'egocentric'; this network has 'allocentric'"),
    ],
)
def test_weights_of_another_parametrization_are_refused(trained: Path, head: HeadConfig, message: str) -> None:
    model = SeqPose(replace(tiny_config(), head=head))
    config = TrainConfig(model=model.config, init_from=str(trained))
    with pytest.raises(ValueError, match=message):
        load_initial_weights(model, config)
    load_initial_weights(model, replace(config, init_parts=("encoder", "layers")))


def test_parts_can_be_loaded_into_a_network_that_differs_elsewhere(trained: Path) -> None:
    model = tiny_model(seed=2, anchors=9, proposals=0)
    config = TrainConfig(model=model.config, init_from=str(trained))
    before = model.anchor_embedding.clone()
    with pytest.raises(CheckpointError, match=r"does not fit: .*not known.*centre_head"):
        load_initial_weights(model, config)
    load_initial_weights(model, replace(config, init_parts=("encoder",)))
    assert equal_parts(model, checkpoint.load(trained)) == {"encoder"}
    assert torch.equal(model.anchor_embedding, before)


def test_a_frozen_part_has_no_gradient_and_is_not_optimized() -> None:
    model = tiny_model()
    freeze(model, ["encoder", "fusion"])
    features = model.encode(*frames(1), dense=False)
    assert not features.fused[0].requires_grad, "activations are kept for a backward pass"
    optimizer, _ = make_optimizer(model, TrainConfig().optimizer, 10)
    trained = {id(p) for group in optimizer.param_groups for p in group["params"]}
    kept = {name.split(".")[0] for name, p in model.named_parameters() if id(p) not in trained}
    assert kept == {"encoder", "fusion"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"init_parts": ("encodr",)}, r"init_parts names 'encodr'; did you mean 'encoder'\? known are: .*fusion"),
        ({"init_parts": ("encoder",), "frozen_parts": ("fusion",)}, "frozen_parts names 'fusion', but .* random"),
        ({"init_from": None, "frozen_parts": ("encoder",)}, "frozen_parts names 'encoder', but .* random"),
    ],
)
def test_errors_name_unknown_and_random_parts(trained: Path, change: dict[str, object], message: str) -> None:
    model = SeqPose(tiny_config())
    config = replace(TrainConfig(model=model.config, init_from=str(trained)), **change)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=message):
        load_initial_weights(model, config)


def test_an_error_names_a_part_missing_in_the_checkpoint(tmp_path: Path) -> None:
    folder = checkpoint.save(tiny_model(proposals=0), tmp_path)
    model = tiny_model()
    config = TrainConfig(model=model.config, init_from=str(folder), init_parts=("centre_head",))
    with pytest.raises(ValueError, match=r"has no part 'centre_head'; it has .*encoder"):
        load_initial_weights(model, config)


def test_init_parts_without_init_from_and_unknown_frozen_parts_are_refused() -> None:
    with pytest.raises(ValueError, match=r"init_parts is \['encoder'\], but init_from names no checkpoint"):
        TrainConfig(init_parts=("encoder",))
    with pytest.raises(ValueError, match="frozen_parts names 'heds'; did you mean 'heads'"):
        freeze(tiny_model(), ["heds"])
