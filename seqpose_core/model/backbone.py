# SPDX-License-Identifier: Apache-2.0
"""Encoders around a backbone of transformers: what they share, whichever backbone it is."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import Tensor, nn

Self = TypeVar("Self", bound="BackboneEncoder")


class BackboneEncoder(nn.Module):
    """Holds the backbone and, where it is frozen, keeps it so.

    A frozen backbone stays in evaluation mode whatever :meth:`train` says, and its outputs carry no gradient: an
    optimiser that is given its parameters all the same neither moves nor decays them.
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
        """The backbone's outputs for images (B, 3, H, W), one a tapped layer."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            return list(self.backbone(images).feature_maps)


def no_geometry(semantic: list[Tensor]) -> list[Tensor]:
    """g_i where Eq. 2 is left out: maps (B, 0, H_i, W_i) without channels, which Eq. 3 and 4 concatenate to nothing."""
    return [s[:, :0] for s in semantic]
