# SPDX-License-Identifier: Apache-2.0
"""Losses of several rotation hypotheses per query: the nearest one is regressed, and the scores learn to select it."""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from seqpose_core.losses.symmetry import PoseDistance

#: At this distance more than the nearest mode, a mode is e times less likely in the target: a yaw of about 9 degrees.
_TEMPERATURE = 0.1
#: Share of the mean over all modes in the regression loss: it keeps modes that are never nearest from drifting.
_SHARE_OF_MEAN = 0.05


@dataclass(frozen=True)
class ModeLosses:
    """Losses of P matched pairs.

    :param regression: (P,) 0.95 × distance of the nearest mode + 0.05 × mean distance over the modes.
    :param selection: (P,) divergence of the scores from softmax(-distance / 0.1); 0 for symmetric objects.
    :param nearest: (P, 3, 3) the nearest mode.
    """

    regression: Tensor
    selection: Tensor
    nearest: Tensor


def mode_losses(
    modes: Tensor, mode_logits: Tensor, target: Tensor, symmetric: Tensor, distance: PoseDistance
) -> ModeLosses:
    """Losses of which only the nearest mode and the scores receive a full gradient (winner takes all).

    The target of the scores is not only the nearest mode: where two modes are equally good, which one is nearest is
    chance, and learning it would make the scores of all objects uniform.

    :param modes: (P, K, 3, 3) rotations, :param mode_logits: (P, K), :param target: (P, 3, 3).
    :param symmetric: (P,) bool: which mode is nearest is a convention for these, so their scores are not trained.
    """
    distances = distance.of_rotations(modes, target[:, None], symmetric[:, None].expand(-1, modes.shape[1]))
    winner = distances.detach().argmin(-1)
    least = distances.gather(1, winner[:, None])[:, 0]
    regression = (1 - _SHARE_OF_MEAN) * least + _SHARE_OF_MEAN * distances.mean(-1)
    wanted = (-distances.detach() / _TEMPERATURE).softmax(-1)
    selection = F.kl_div(mode_logits.log_softmax(-1), wanted, reduction="none").sum(-1) * ~symmetric
    nearest = modes.gather(1, winner[:, None, None, None].expand(-1, 1, 3, 3))[:, 0]
    return ModeLosses(regression, selection, nearest)
