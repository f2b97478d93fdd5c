# SPDX-License-Identifier: Apache-2.0
"""Guidance of Eq. 8 by the estimated depth and normals (``decoder.guided``)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seqpose_core.model.dense_heads import DensePrediction
from seqpose_core.model.layers import mlp
from seqpose_core.model.projection import NEAR, Pinhole

_HIDDEN = 16


class GeometryGuide(nn.Module):
    """What is added to the attention logits of the sampled 3D points.

    A point is described by log(z / d), where d is the estimated depth at its projection, and the estimated normal
    there: points on the estimated surface can be preferred to those in front of it or behind it. The last layer is
    initialised to zero, so that training starts without guidance.
    """

    def __init__(self) -> None:
        super().__init__()
        self.network = mlp(4, _HIDDEN, 1)
        for parameter in self.network[2].parameters():
            nn.init.zeros_(parameter)

    def forward(self, points: Tensor, geometry: Tensor, pinhole: Pinhole) -> Tensor:
        """Returns (B, Q, heads, P).

        :param points: (B, Q, heads, P, 3) metres, camera frame. :param geometry: see :func:`geometry_map`.
        """
        grid = (pinhole.project(points.flatten(2, 3)) + 0.5) / pinhole.image_size * 2 - 1  # (B, Q, heads·P, 2)
        sampled = F.grid_sample(geometry, grid.to(geometry.dtype), padding_mode="border", align_corners=False)
        log_depth, normal = sampled.unflatten(3, points.shape[2:4]).split([1, 3], dim=1)
        distance = points[..., 2].clamp_min(NEAR).log() - log_depth[:, 0]
        features = torch.cat([distance.clamp(-1, 1)[..., None], normal.permute(0, 2, 3, 4, 1)], dim=-1)
        return self.network(features)[..., 0]


def geometry_map(dense: DensePrediction, pinhole: Pinhole, canonical_focal: float) -> Tensor:
    """Estimated log depth in metres, and normals: (B, 4, h, w), without gradients to the dense heads."""
    if dense.log_depth is None or dense.normals is None:
        raise ValueError("a guided decoder needs the depth head and the normal head")
    scale = (pinhole.mean_focal / canonical_focal).log()[:, None, None]
    return torch.cat([(dense.log_depth + scale)[:, None], dense.normals], dim=1).detach().float()
