# SPDX-License-Identifier: Apache-2.0
"""EfficientNet-Lite with a feature pyramid: pretrained ImageNet features at the cost of a small network."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seqpose_core.model.backbone import BackboneEncoder, no_geometry
from seqpose_core.model.encoder_config import EncoderConfig
from seqpose_core.model.layers import ChannelNorm, FusionNeck, ray_features

#: Width and depth multipliers of each variant (google-research, efficientnet_lite_builder.py).
VARIANTS = {"lite0": (1.0, 1.0), "lite1": (1.0, 1.1), "lite2": (1.1, 1.2)}
_STEM_WIDTH = 32
#: (kernel, stride, expansion, channels, repeats) of the seven stages of lite0; the first and the last stage are
#: repeated once in every variant.
_STAGES = (
    (3, 1, 1, 16, 1),
    (3, 2, 6, 24, 2),
    (5, 2, 6, 40, 2),
    (3, 2, 6, 80, 3),
    (5, 1, 6, 112, 3),
    (5, 2, 6, 192, 4),
    (3, 1, 6, 320, 1),
)
#: Stages whose outputs are returned, and their strides in pixels.
_TAPPED = {1: 4, 2: 8, 3: 16, 4: 16, 6: 32}


class SameConv2d(nn.Conv2d):
    """Convolution with TensorFlow's SAME padding for maps of even size.

    With stride 2 the padding is one smaller on the left and at the top than on the right and at the bottom.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__(inputs, outputs, kernel, stride, kernel // 2 if stride == 1 else 0, groups=groups)

    def forward(self, x: Tensor) -> Tensor:
        if self.stride[0] == 2:
            before = (self.kernel_size[0] - 2) // 2
            x = F.pad(x, (before, before + 1) * 2)
        return super().forward(x)


class MBConv(nn.Module):
    """Inverted bottleneck without squeeze-and-excitation; the batch norms are folded into the convolutions."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = expansion * inputs
        self.expand = SameConv2d(inputs, hidden, 1) if expansion > 1 else None
        self.depthwise = SameConv2d(hidden, hidden, kernel, stride, groups=hidden)
        self.project = SameConv2d(hidden, outputs, 1)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        y = x if self.expand is None else F.relu6(self.expand(x))
        y = self.project(F.relu6(self.depthwise(y)))
        return x + y if self.residual else y


class EfficientNetLite(nn.Module):
    """The stem and the blocks of EfficientNet-Lite, without its classifier.

    ``widths`` and ``strides`` describe the returned maps: the outputs of stages 2, 3, 4, 5 and 7.

    :param variant: a key of ``VARIANTS``.
    """

    def __init__(self, variant: str) -> None:
        super().__init__()
        width_factor, depth_factor = VARIANTS[variant]
        self.stem = SameConv2d(3, _STEM_WIDTH, 3, stride=2)
        self.blocks = nn.ModuleList()
        self.taps: list[int] = []
        widths, inputs = [], _STEM_WIDTH
        for stage, (kernel, stride, expansion, channels, repeats) in enumerate(_STAGES):
            outputs = _rounded(channels * width_factor)
            if 0 < stage < len(_STAGES) - 1:
                repeats = math.ceil(repeats * depth_factor)
            for repeat in range(repeats):
                self.blocks.append(MBConv(inputs, outputs, kernel, stride if repeat == 0 else 1, expansion))
                inputs = outputs
            if stage in _TAPPED:
                self.taps.append(len(self.blocks) - 1)
                widths.append(outputs)
        self.widths, self.strides = tuple(widths), tuple(_TAPPED.values())
        self.apply(_initialise)

    def forward(self, images: Tensor) -> list[Tensor]:
        """images (B, 3, H, W) normalised, H and W multiples of 32."""
        x = F.relu6(self.stem(images))
        maps = []
        for number, block in enumerate(self.blocks):
            x = block(x)
            if number in self.taps:
                maps.append(x)
        return maps


class EfficientNetLiteEncoder(BackboneEncoder):
    """EfficientNet-Lite and a fusing neck, with levels at strides 8, 16, 16 and 32.

    Each backbone output is normalised over its channels and projected to ``neck_width``; the stride-4 output is added
    to the first level by a strided convolution, which keeps details like handles. A linear embedding of the ray and
    of the focal length is added to each cell, because metric depth from one image is ambiguous without them.
    """

    def __init__(self, config: EncoderConfig, canonical_focal: float) -> None:
        assert config.size is not None
        backbone = EfficientNetLite(config.size)
        super().__init__(backbone, config.frozen)
        neck = config.neck_width
        self.canonical_focal = canonical_focal
        self.norms = nn.ModuleList(ChannelNorm(width) for width in backbone.widths)
        self.detail = nn.Conv2d(backbone.widths[0], neck, 2, stride=2, bias=False)
        self.lateral = nn.ModuleList(nn.Conv2d(width, neck, 1) for width in backbone.widths[1:])
        self.camera = nn.ModuleList(nn.Linear(4, neck) for _ in self.lateral)
        self.strides = backbone.strides[1:]
        self.semantic_widths, self.geometry_widths = (neck,) * 4, (0,) * 4
        self.fuse: FusionNeck | None = None
        if config.depth_decoder:
            self.fuse = FusionNeck(neck)
            self.geometry_widths = (neck,) * 4
        _freeze(backbone, config.frozen_blocks, config.freeze_depthwise)

    def feature_maps(self, images: Tensor) -> list[Tensor]:
        """The backbone's outputs (B, C_i, H/s_i, W/s_i) for images (B, 3, H, W), strides s_i = 4, 8, 16, 16, 32."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            maps: list[Tensor] = self.backbone(images.contiguous(memory_format=torch.channels_last))
        return maps

    def forward(self, images: Tensor, intrinsics: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """images (B, 3, H, W) normalised, intrinsics (B, 3, 3) in pixels of these images."""
        fine, *maps = [norm(m) for norm, m in zip(self.norms, self.feature_maps(images), strict=True)]
        semantic = []
        for lateral, camera, stride, level in zip(self.lateral, self.camera, self.strides, maps, strict=True):
            rows, columns = level.shape[-2:]
            rays = ray_features(intrinsics, rows, columns, stride, self.canonical_focal)
            semantic.append(lateral(level) + camera(rays).transpose(1, 2).unflatten(2, (rows, columns)))
        semantic[0] = semantic[0] + self.detail(fine)
        return semantic, no_geometry(semantic) if self.fuse is None else self.fuse(semantic)


def _rounded(channels: float) -> int:
    """The multiple of 8 nearest to ``channels``, but at least 0.9 of it."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded


def _initialise(module: nn.Module) -> None:
    """Random weights that keep the variance of the activations, for training without pretrained weights."""
    if isinstance(module, SameConv2d):
        nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        nn.init.zeros_(module.bias)  # type: ignore[arg-type]


def _freeze(backbone: EfficientNetLite, blocks: int, depthwise: bool) -> None:
    """Freeze the stem and the first ``blocks`` blocks, and with ``depthwise`` all depthwise filters."""
    if blocks > len(backbone.blocks):
        raise ValueError(f"frozen_blocks is {blocks}; the backbone has {len(backbone.blocks)} blocks")
    if blocks:
        backbone.stem.requires_grad_(False)
    for number, block in enumerate(backbone.blocks):
        assert isinstance(block, MBConv)
        if number < blocks:
            block.requires_grad_(False)
        elif depthwise:
            block.depthwise.requires_grad_(False)
