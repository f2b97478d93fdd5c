# SPDX-License-Identifier: Apache-2.0
"""Denoising queries in 3D (DN-DETR, Li et al. 2022): in training, noised ground-truth queries are appended.

They learn to remove the noise without matching, which stabilises the regression from the first step on. The attention
mask separates groups of denoising queries from each other, from the other queries and from the memory, so that no
ground truth leaks into the prediction.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from seqpose_core.model.projection import NEAR

#: Share of classes that are replaced by a random one (DN-DETR), and the largest shift of the centre along each axis of
#: the camera frame, in half diagonals of the box (StreamPETR: in half extents; the diagonal needs no orientation).
_CLASS_NOISE, _CENTRE_NOISE = 0.2, 1.0


@dataclass(frozen=True)
class DenoisingQueries:
    """Noised ground truth of B frames: G groups of M objects, D = G·M; query g·M + m is object m in group g.

    :param classes: (B, D) int64, 0..C-1, some of them deliberately wrong.
    :param reference: (B, D, 3) noised centres in the camera frame, metres.
    :param present: (B, D) bool: false for padding of the ground truth.
    :param group_size: M.
    """

    classes: Tensor
    reference: Tensor
    present: Tensor
    group_size: int

    @classmethod
    @torch.no_grad()
    def sample(
        cls, classes: Tensor, translation: Tensor, size: Tensor, groups: int, categories: int
    ) -> DenoisingQueries:
        """Add noise to ground-truth classes (B, M), -1 = padding, centres (B, M, 3) and extents (B, M, 3), metres.

        The noise comes from torch's default generator of the device of the ground truth.

        :param groups: G; :param categories: C, the number of categories of the model.
        """
        repeated = classes.repeat(1, groups)
        replaced = torch.rand(repeated.shape, device=repeated.device) < _CLASS_NOISE
        noised = torch.where(replaced, torch.randint_like(repeated, categories), repeated.clamp_min(0))
        centre = translation.repeat(1, groups, 1)
        reach = _CENTRE_NOISE / 2 * size.norm(dim=-1, keepdim=True).repeat(1, groups, 1)
        centre = centre + reach * (2 * torch.rand_like(centre) - 1)
        centre = torch.cat([centre[..., :2], centre[..., 2:].clamp_min(NEAR)], dim=-1)
        return cls(noised, centre, repeated >= 0, classes.shape[1])

    def attention_mask(self, valid: Tensor, memory_valid: Tensor) -> Tensor:
        """Which query may attend to which, (B, Q + D, Q + D + S) bool.

        :param valid: (B, Q) of the other queries, which attend to each other and to the memory.
        :param memory_valid: (B, S) of the memory. A denoising query attends to its own group only.
        """
        queries, noised = valid.shape[1], self.present.shape[1]
        mask = valid.new_zeros(len(valid), queries + noised, queries + noised + memory_valid.shape[1])
        mask[:, :queries, :queries] = valid[:, None]
        mask[:, :queries, queries + noised :] = memory_valid[:, None]
        group = torch.arange(noised, device=valid.device).div(self.group_size, rounding_mode="floor")
        # Each query attends to itself as well: not every engine returns zeros for a softmax over no key.
        itself = torch.eye(noised, dtype=torch.bool, device=valid.device)
        same_group = (group[:, None] == group) & self.present[:, None]
        mask[:, queries:, queries : queries + noised] = same_group | itself
        return mask
