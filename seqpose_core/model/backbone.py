# SPDX-License-Identifier: Apache-2.0
"""Base class of the encoders that use a transformers backbone."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import Tensor, nn

Self = TypeVar("Self", bound="BackboneEncoder")


class BackboneEncoder(nn.Module):
    """An encoder with a backbone that can be frozen.

    A frozen backbone stays in evaluation mode after :meth:`train`, and its outputs carry no gradient, so that an
    optimiser which includes its parameters neither updates nor decays them.
    """

    #: Channels of s_i and g_i, finest level first; 0 for a level without g_i.
    semantic_widths: tuple[int, ...]
    geometry_widths: tuple[int, ...]

    def __init__(self, backbone: nn.Module, frozen: bool) -> None:
        super().__init__()
        self.backbone, self.frozen = backbone, frozen
        if frozen:
            backbone.requires_grad_(False).eval()

    def train(self: Self, mode: bool = True) -> Self:
        super().train(mode)
        if self.frozen:
            self.backbone.eval()
        return self

    def feature_maps(self, images: Tensor) -> list[Tensor]:
        """The outputs of the backbone for images (B, 3, H, W), one per selected layer."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            return list(self.backbone(images).feature_maps)


def no_geometry(semantic: list[Tensor]) -> list[Tensor]:
    """g_i without Eq. 2: maps (B, 0, H_i, W_i) with no channels, so that Eq. 3 and 4 use s_i only."""
    return [s[:, :0] for s in semantic]
