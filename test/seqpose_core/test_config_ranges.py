# SPDX-License-Identifier: Apache-2.0
"""Numbers outside their range raise an error when a configuration is read."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from encoders_rig import KINDS
from tiny import frames, tiny_config

from seqpose_core import SeqPose, config_io
from train.fit.config import TrainConfig

INVALID = [
    ("optimizer.learning_rate", 0.0, "learning_rate is 0.0; it must be above 0"),
    ("optimizer.learning_rate", float("nan"), "learning_rate is nan; it must be above 0"),
    ("optimizer.encoder_rate", -0.1, "encoder_rate is -0.1; it must be at least 0"),
    ("optimizer.backbone_rate", -0.1, "backbone_rate is -0.1; it must be at least 0"),
    ("optimizer.neck_rate", -0.1, "neck_rate is -0.1; it must be at least 0"),
    ("optimizer.layer_decay", 0.0, "layer_decay is 0.0; it must lie in 0..1, above 0"),
    ("optimizer.weight_decay", -0.01, "weight_decay is -0.01; it must be at least 0"),
    ("optimizer.beta2", 1.0, "beta2 is 1.0; it must lie between 0 and 1"),
    ("optimizer.beta2", 0.0, "beta2 is 0.0; it must lie between 0 and 1"),
    ("optimizer.clip_norm", 0.0, "clip_norm is 0.0; it must be above 0"),
    ("optimizer.warmup_steps", -1, "warmup_steps is -1; it must be at least 0"),
    ("optimizer.final_rate", 1.1, "final_rate is 1.1; it must lie in 0..1"),
    ("optimizer.ema", 1.0, "ema is 1.0; it must lie in 0..1, below 1"),
    ("optimizer.ema", -0.1, "ema is -0.1; it must lie in 0..1, below 1"),
    ("data.val_frames", 0, "val_frames is 0; it must be at least 1"),
    ("data.val_windows", 0, "val_windows is 0; it must be at least 1"),
    ("data.label_size", [0, 64], "label_size is .0, 64.; both must be at least 1"),
    ("data.workers", -1, "workers is -1; it must be at least 0"),
    ("compute.devices", 0, "devices is 0; it must be at least 1"),
    ("compute.num_nodes", 0, "num_nodes is 0; it must be at least 1"),
    ("seed", -1, "seed is -1; it must be at least 0"),
    ("accumulate", 0, "accumulate is 0; it must be at least 1"),
    ("val_every", 0, "val_every is 0; it must be at least 1"),
    ("save_every", 0, "save_every is 0; it must be at least 1"),
    ("stages", [], "stages is empty; training needs at least one"),
    ("stages", [{"until_step": 10}, {"until_step": 10}], "stages end at steps 10, 10; each must end later"),
    ("stages", [{"until_step": 10}, {"epochs": 1}, {"until_step": 5}], "stages end at steps 10, 5; each must end"),
    ("stages", [{"until_step": 0}], "until_step 0 and epochs None; give one of them, at least 1"),
    ("stages", [{"until_step": 1, "epochs": -1}], "give one of them, at least 1"),
    ("stages", [{"until_step": 1, "clip_length": 0}], "at least one clip of at least one frame"),
    ("model.image_height", 90, "image_height is 90; it must be a multiple of 14"),
    ("model.fusion_width", 0, "fusion_width is 0; it must be at least 1"),
    ("model.dense.width", 0, "width is 0; it must be at least 1"),
    ("model.dense.upscale", 0, "upscale is 0; it must be at least 1"),
    ("model.queries.denoising", -1, "denoising=-1; it must be 0 or a number of groups"),
    ("model.queries.anchors", -1, "anchors=-1 and proposals=8; at least one"),
    ("model.queries.proposals", -1, "anchors=6 and proposals=-1; at least one"),
    ("model.queries", {"anchors": 0, "proposals": 0}, "anchors=0 and proposals=0; at least one query"),
    # conv_vit's finest map has one cell per 7 x 7 pixels: 12 x 16 for an image of 84 x 112.
    ("model.queries.proposals", 193, "queries.proposals is 193; the finest map has 12 x 16 cells, so 192 at most"),
    ("model.decoder.width", 0, "width is 0; it must be at least 2"),
    ("model.decoder.width", 33, "width 33 is not a multiple of heads 2"),
    (
        "model.decoder.kept_queries",
        [4, 4],
        r"kept_queries is \[4, 4\]; it must be at most 1 positive numbers for 2 layers",
    ),
    ("model.decoder.kept_queries", [0], r"kept_queries is \[0\]; it must be at most 1 positive"),
    ("model.decoder.kept_queries", [3], "decoder.kept_queries ends at 3; it must be at least memory.top_k, which is 4"),
    ("model.decoder.finest_level", 4, "finest_level is 4; it must be one of the levels 0 to 3"),
    ("model.decoder.layers", 0, "layers is 0; it must be at least 1"),
    ("model.decoder.heads", 0, "heads is 0; it must be at least 1"),
    ("model.decoder.points", 0, "points is 0; it must be at least 1"),
    ("model.decoder.ffn_ratio", 0, "ffn_ratio is 0; it must be at least 1"),
    ("model.decoder.dropout", 1.0, "dropout is 1.0; it must lie in 0..1, below 1"),
    ("model.decoder.offset_scale", -0.1, "offset_scale is -0.1; it must be at least 0"),
    ("model.memory.frames", -1, "memory of -1 frames x 4 queries; needs frames >= 0"),
    ("model.memory.top_k", 0, "memory of 3 frames x 0 queries; needs frames >= 0, top_k >= 1"),
    ("model.encoder.depth", 2, "depth is 2; conv_vit needs at least 3"),
    ("model.encoder.stem_width", 10, "stem_width is 10; it must be a multiple of 8"),
    ("model.encoder.stem_width", 0, "stem_width is 0; it must be a multiple of 8"),
    ("model.encoder.pretrain_image_size", -14, "pretrain_image_size is -14; it must be at least 0"),
]


@pytest.mark.parametrize(("key", "value", "message"), INVALID, ids=[f"{key}={value}" for key, value, _ in INVALID])
def test_a_number_out_of_range_raises_an_error_with_its_name(key: str, value: object, message: str) -> None:
    for part in reversed(key.split(".")):
        value = {part: value}
    assert isinstance(value, dict)
    data = config_io.merge(config_io.to_dict(TrainConfig(model=tiny_config())), value)
    with pytest.raises(config_io.ConfigError, match=message):
        config_io.from_dict(TrainConfig, data)


@pytest.mark.parametrize("kind", KINDS)
def test_proposals_are_limited_to_the_cells_of_the_finest_map(kind: str) -> None:
    config = replace(tiny_config(), encoder=KINDS[kind])
    with torch.no_grad():
        cells = SeqPose(config).encode(*frames(1), dense=False).centre.heat[0, 0].numel()
    assert replace(config, queries=replace(config.queries, proposals=cells)).queries.proposals == cells
    with pytest.raises(ValueError, match=f"proposals is {cells + 1}; .* so {cells} at most"):
        replace(config, queries=replace(config.queries, proposals=cells + 1))
