# SPDX-License-Identifier: Apache-2.0
"""Denoising queries (DN-DETR, Li et al. 2022), in 3D: in training, noised truth asks beside the model's own queries.

They learn to undo the noise without any matching, which steadies the layers' regression from the first step. Groups of
them, the model's own queries and the memory see nothing of each other, so nothing leaks out of the truth.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from seqpose_core.categories import CATEGORIES
from seqpose_core.model.projection import NEAR

#: Share of classes that are drawn anew (DN-DETR), and the reach of the centre's noise along each axis of the camera
#: frame, in half diagonals of the box (StreamPETR: in half extents; the diagonal needs no orientation).
_CLASS_NOISE, _CENTRE_NOISE = 0.2, 1.0


@dataclass(frozen=True)
class DenoisingQueries:
    """Noised truth of B frames: G groups of M places, D = G·M queries; query g·M + m is place m in group g.

    :param classes: (B, D) int64, 0..5, a share of them wrong on purpose.
    :param reference: (B, D, 3) noised centres in the camera frame, metres.
    :param present: (B, D) bool: false where the truth has an empty place.
    :param places: M.
    """

    classes: Tensor
    reference: Tensor
    present: Tensor
    places: int

    @classmethod
    @torch.no_grad()
    def draw(cls, classes: Tensor, translation: Tensor, size: Tensor, groups: int) -> DenoisingQueries:
        """Noise the true classes (B, M), -1 = empty place, centres (B, M, 3) and extents (B, M, 3), metres.

        The noise comes from torch's generator of the device that the truth is on.
        """
        places = classes.shape[1]
        many = classes.repeat(1, groups)
        wrong = torch.rand(many.shape, device=many.device) < _CLASS_NOISE
        noised = torch.where(wrong, torch.randint_like(many, len(CATEGORIES)), many.clamp_min(0))
        centre = translation.repeat(1, groups, 1)
        reach = _CENTRE_NOISE / 2 * size.norm(dim=-1, keepdim=True).repeat(1, groups, 1)
        centre = centre + reach * (2 * torch.rand_like(centre) - 1)
        centre = torch.cat([centre[..., :2], centre[..., 2:].clamp_min(NEAR)], dim=-1)
        return cls(noised, centre, many >= 0, places)

    def sight(self, valid: Tensor, past_valid: Tensor) -> Tensor:
        """Who sees whom in the temporal attention: (B, Q + D, Q + D + S) bool.

        :param valid: (B, Q) of the model's own queries: they see these and the memory.
        :param past_valid: (B, S) of the memory. A denoising query sees its own group.
        """
        queries, extra = valid.shape[1], self.present.shape[1]
        seen = valid.new_zeros(len(valid), queries + extra, queries + extra + past_valid.shape[1])
        seen[:, :queries, :queries] = valid[:, None]
        seen[:, :queries, queries + extra :] = past_valid[:, None]
        group = torch.arange(extra, device=valid.device).div(self.places, rounding_mode="floor")
        # Everyone sees itself: not every engine makes zeros of a softmax over nothing.
        itself = torch.eye(extra, dtype=torch.bool, device=valid.device)
        own = (group[:, None] == group) & self.present[:, None]
        seen[:, queries:, queries : queries + extra] = own | itself
        return seen
