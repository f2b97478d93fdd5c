# SPDX-License-Identifier: Apache-2.0
"""Encoders by kind and size: valid configurations build, others raise an error that names the setting."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from encoders_rig import VITDET
from tiny import tiny_config

from seqpose_core import SeqPose, SeqPoseConfig, config_io
from seqpose_core.config_io import ConfigError
from seqpose_core.model.encoder_config import EncoderConfig

CONFIGS = sorted((Path(__file__).parents[2] / "config" / "model").glob("*.yaml"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{kind: dinov2, size: small, width: 768}", "width is 768, but size 'small' of dinov2 has 384; leave width"),
        ("{kind: dinov2, size: giant}", r"encoder\.size is 'giant'; it must be one of 'small', 'base', 'large'"),
        ("{kind: dinov2, width: 384, depth: 12}", "dinov2 needs a size .*not given: heads, neck_width, out_layers"),
        ("{kind: conv_vit, size: small}", "conv_vit has no named sizes"),
        ("{kind: conv_vit, frozen: true}", "frozen is True, but conv_vit is always trained from scratch"),
        ("{kind: vitdet, size: small}", "vitdet has none; it needs depth_decoder: false"),
        ("{kind: dinov2, size: small, patch_size: 16}", "patch_size is 16; dinov2 has 14"),
        ("{kind: vitdet, size: small, depth_decoder: false, patch_size: 8}", "vitdet has 14 or 16"),
        ("{kind: eva02, size: small}", "eva02 has none; it needs depth_decoder: false"),
        (
            "{kind: eva02, width: 60, depth: 2, heads: 4, neck_width: 8, depth_decoder: false}",
            "is not a multiple of",
        ),
        ("{kind: conv_vit, width: 100}", "width 100 is not a multiple of heads 3"),
    ],
)
def test_invalid_encoder_settings_raise(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "model.yaml").write_text(f"encoder: {text}")
    with pytest.raises(ConfigError, match=message):
        SeqPoseConfig.from_yaml(tmp_path / "model.yaml")


def test_rows_of_table_2_change_few_settings_of_the_full_model() -> None:
    full = config_io.to_dict(EncoderConfig(kind="dinov2", size="small", frozen=True, pretrained="owner/weights"))
    without_decoder = config_io.from_dict(EncoderConfig, full | {"depth_decoder": False})
    assert without_decoder.resolved().reassemble_widths == (48, 96, 192, 384)
    change = {"kind": "vitdet", "depth_decoder": False, "frozen": False, "pretrained": None}
    vitdet = config_io.from_dict(EncoderConfig, full | change).resolved()
    assert (vitdet.width, vitdet.depth, vitdet.heads, vitdet.neck_width) == (384, 12, 6, 256)
    nano = config_io.to_dict(SeqPoseConfig.from_yaml(CONFIGS[0].with_name("nano.yaml")).encoder)
    vitdet = config_io.from_dict(EncoderConfig, nano | {"kind": "vitdet", "depth_decoder": False}).resolved()
    assert (vitdet.width, vitdet.depth, vitdet.heads, vitdet.neck_width) == (160, 6, 5, 64)


def test_image_size_must_be_a_multiple_of_the_patch_size() -> None:
    encoder = replace(VITDET, patch_size=16, pretrain_image_size=64)
    with pytest.raises(ValueError, match="image_height is 84; it must be a multiple of 16"):
        replace(tiny_config(), encoder=encoder)


#: Parameters of DINOv2 S, B and L with 14-pixel patches in the authors' code, mask token included.
DINOV2_PARAMETERS = {"small": 22_056_576, "base": 86_580_480, "large": 304_368_640}


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: p.stem)
def test_every_named_configuration_builds(path: Path) -> None:
    config = SeqPoseConfig.from_yaml(path)
    with torch.device("meta"):
        model = SeqPose(config)
    encoder = config.encoder.resolved()
    assert config_io.from_dict(SeqPoseConfig, config_io.to_dict(config)) == config
    if encoder.kind == "dinov2":
        assert encoder.size == path.stem.removesuffix("-fast")
        backbone = sum(p.numel() for p in model.encoder.backbone.parameters())
        assert backbone + encoder.width == DINOV2_PARAMETERS[encoder.size], "all but the mask token"
        assert (config.image_height, config.image_width) == (238, 322)
        assert (config.queries.anchors, config.memory.frames, encoder.frozen) == (600, 3, True)
