# SPDX-License-Identifier: Apache-2.0
"""Eq. 10: the set criterion on every layer's queries, plus the dense terms."""

from __future__ import annotations

from dataclasses import dataclass, field

import roma
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seqpose_core.losses.dense import centre_losses, dense_losses
from seqpose_core.losses.matching import Matches, MatchingWeights, match
from seqpose_core.losses.targets import Targets
from seqpose_core.model.pose_head import ObjectPrediction
from seqpose_core.model.projection import NEAR, project
from seqpose_core.model.seqpose import Prediction


@dataclass(frozen=True)
class LossWeights:
    """Weights of Eq. 10. A weight of 0 leaves a term out of the sum.

    :param centre_uv, log_depth: L1 of the projected centre (in image widths and heights) and of log z.
    :param position: L1 in metres (the paper's λ2; the two above take its place by default).
    :param rotation: L1 over the rotation matrix. :param log_size: L1 of the logarithm of the extents.
    :param uncertainty: Laplace likelihood of the errors, which trains the uncertainty alone.
    """

    classification: float = 2.0
    centre_uv: float = 10.0
    log_depth: float = 5.0
    position: float = 0.0
    rotation: float = 3.0
    log_size: float = 2.0
    uncertainty: float = 0.02
    segmentation: float = 1.0
    depth: float = 2.0
    normals: float = 1.0
    nocs: float = 3.0
    heat: float = 0.5
    centre: float = 1.0


@dataclass(frozen=True)
class CriterionConfig:
    weights: LossWeights = field(default_factory=LossWeights)
    matching: MatchingWeights = field(default_factory=MatchingWeights)


class Criterion(nn.Module):
    """Every layer's queries are matched and penalised on their own (auxiliary losses), summed with equal weight."""

    def __init__(self, config: CriterionConfig, canonical_focal: float) -> None:
        super().__init__()
        self.config = config
        self.canonical_focal = canonical_focal

    def forward(
        self, prediction: Prediction, targets: Targets, intrinsics: Tensor, image_size: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The weighted sum and its unweighted terms; layers' terms are those of the last layer.

        :param intrinsics: (B, 3, 3); :param image_size: (2,) width and height, pixels.
        """
        weights = vars(self.config.weights)
        terms: dict[str, Tensor] = {}
        total = intrinsics.new_zeros(())
        for layer in prediction.layers:
            matches = match(layer, prediction.valid, targets, intrinsics, image_size, self.config.matching)
            terms = object_losses(layer, prediction.valid, targets, matches, intrinsics, image_size)
            total = total + sum((weights[name] * value for name, value in terms.items()), start=total.new_zeros(()))
        extra: dict[str, Tensor] = {}
        if prediction.dense is not None:
            extra |= dense_losses(prediction.dense, targets, intrinsics, self.canonical_focal)
        if prediction.centre is not None:
            extra |= centre_losses(prediction.centre, targets, intrinsics, image_size, self.canonical_focal)
        total = total + sum((weights[name] * value for name, value in extra.items()), start=total.new_zeros(()))
        return total, terms | extra


def object_losses(
    prediction: ObjectPrediction,
    valid: Tensor,
    targets: Targets,
    matches: Matches,
    intrinsics: Tensor,
    image_size: Tensor,
) -> dict[str, Tensor]:
    """Terms of one layer, each a mean over the matched objects (over one, where there are none)."""
    s, q, m = matches.sample, matches.query, matches.target
    count = max(len(s), 1)
    labels = torch.zeros_like(prediction.logits)
    labels[s, q, targets.classes[s, m]] = 1.0

    translation, rotation, size = prediction.translation[s, q], prediction.rotation[s, q], prediction.size[s, q]
    true_translation, true_rotation, true_size = (
        targets.translation[s, m], targets.rotation[s, m], targets.size[s, m]
    )  # fmt: skip
    pixels = project(translation[:, None], intrinsics[s])[:, 0] / image_size
    true_pixels = project(true_translation[:, None], intrinsics[s])[:, 0] / image_size
    log_z = translation[:, 2].clamp_min(NEAR).log() - true_translation[:, 2].clamp_min(NEAR).log()
    return {
        "classification": (focal_loss(prediction.logits, labels) * valid[..., None]).sum() / count,
        "centre_uv": (pixels - true_pixels).abs().sum() / count,
        "log_depth": log_z.abs().sum() / count,
        "position": (translation - true_translation).abs().sum() / count,
        "rotation": (rotation - true_rotation).abs().sum() / (3 * count),
        "log_size": (size.log() - true_size.log()).abs().sum() / count,
        "uncertainty": _laplace(prediction, targets, matches).sum() / count,
    }


def focal_loss(logits: Tensor, labels: Tensor, alpha: float = 0.25, gamma: float = 2.0) -> Tensor:
    """Sigmoid focal loss (Lin et al. 2017), elementwise."""
    probability = logits.sigmoid()
    wrong = torch.where(labels > 0, 1 - probability, probability)
    weight = torch.where(labels > 0, alpha, 1 - alpha)
    return weight * wrong**gamma * F.binary_cross_entropy_with_logits(logits, labels, reduction="none")


def _laplace(prediction: ObjectPrediction, targets: Targets, matches: Matches) -> Tensor:
    """Negative log likelihood (P,) of the errors; errors are detached, so only the scales learn from it.

    The turn of a symmetric object is no error and is left out.
    """
    s, q, m = matches.sample, matches.query, matches.target
    t, true_t = prediction.translation[s, q].detach(), targets.translation[s, m]
    slopes = t[:, :2] / t[:, 2:].clamp_min(NEAR) - true_t[:, :2] / true_t[:, 2:].clamp_min(NEAR)
    log_z = (t[:, 2:].clamp_min(NEAR) / true_t[:, 2:].clamp_min(NEAR)).log()
    turn = roma.rotmat_to_rotvec(prediction.rotation[s, q].detach().transpose(-1, -2) @ targets.rotation[s, m])
    error = torch.cat([slopes, log_z, turn], dim=-1).abs()
    log_scale = prediction.log_scale[s, q]
    likelihood = log_scale + error * (-log_scale).exp()
    counts = torch.ones_like(likelihood)
    counts[:, 4] = (~targets.symmetric[s, m]).to(counts.dtype)
    return (likelihood * counts).sum(-1)
