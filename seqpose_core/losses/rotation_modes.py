# SPDX-License-Identifier: Apache-2.0
"""Losses of several rotation hypotheses per query: the nearest one is regressed, and the scores learn to select it."""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from seqpose_core.losses.symmetry import PoseDistance

#: Share of the mean over all modes in the regression loss: it keeps modes that are never nearest from drifting.
_SHARE_OF_MEAN = 0.05


@dataclass(frozen=True)
class ModeLosses:
    """Losses of P matched pairs.

    :param regression: (P,) 0.95 × distance of the nearest mode + 0.05 × mean distance over the modes.
    :param selection: (P,) cross entropy of the scores on which mode is nearest; 0 for symmetric objects.
    :param nearest: (P, 3, 3) the nearest mode.
    """

    regression: Tensor
    selection: Tensor
    nearest: Tensor


def mode_losses(
    modes: Tensor, mode_logits: Tensor, target: Tensor, symmetric: Tensor, distance: PoseDistance
) -> ModeLosses:
    """Losses of which only the nearest mode and the scores receive a full gradient (winner takes all).

    :param modes: (P, K, 3, 3) rotations, :param mode_logits: (P, K), :param target: (P, 3, 3).
    :param symmetric: (P,) bool: which mode is nearest is a convention for these, so their scores are not trained.
    """
    distances = distance.of_rotations(modes, target[:, None], symmetric[:, None].expand(-1, modes.shape[1]))
    winner = distances.detach().argmin(-1)
    least = distances.gather(1, winner[:, None])[:, 0]
    regression = (1 - _SHARE_OF_MEAN) * least + _SHARE_OF_MEAN * distances.mean(-1)
    selection = F.cross_entropy(mode_logits, winner, reduction="none") * ~symmetric
    nearest = modes.gather(1, winner[:, None, None, None].expand(-1, 1, 3, 3))[:, 0]
    return ModeLosses(regression, selection, nearest)
