# SPDX-License-Identifier: Apache-2.0
"""Eq. 10: the set criterion on every layer's queries, plus the dense terms."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seqpose_core.losses.dense import centre_losses, dense_losses
from seqpose_core.losses.matching import Matches, MatchingWeights, match_layers
from seqpose_core.losses.normalise import Normaliser, at_least_one
from seqpose_core.losses.symmetry import AS_LABELLED, PoseDistance, RotationNorm, turn_error
from seqpose_core.losses.targets import Targets
from seqpose_core.model.pose_head import ObjectPrediction
from seqpose_core.model.projection import NEAR, project
from seqpose_core.model.seqpose import Prediction


@dataclass(frozen=True)
class LossWeights:
    """Weights of Eq. 10. A weight of 0 leaves a term out of the sum.

    :param centre_uv, log_depth: L1 of the projected centre (in image widths and heights) and of log z.
    :param position: L1 in metres (the paper's λ2; the two above take its place by default).
    :param rotation: mean difference of the three axes, see ``CriterionConfig.rotation``.
    :param log_size: L1 of the logarithm of the extents.
    :param size: L1 of the extents in metres (the paper's λ4; the one above takes its place by default).
    :param uncertainty: likelihood of the errors, which trains the uncertainty alone.
    :param denoising: of all that the denoising queries lose, by these same weights; not of Eq. 10.
    """

    classification: float = 2.0
    centre_uv: float = 10.0
    log_depth: float = 5.0
    position: float = 0.0
    rotation: float = 3.0
    log_size: float = 2.0
    size: float = 0.0
    uncertainty: float = 0.02
    denoising: float = 1.0
    segmentation: float = 1.0
    depth: float = 2.0
    normals: float = 1.0
    nocs: float = 3.0
    heat: float = 0.5
    centre: float = 1.0


@dataclass(frozen=True)
class CriterionConfig:
    """What is minimised.

    :param symmetry: ``canonical`` = rotation and size of symmetric objects are compared with the label as it stands,
        which the data make unique by turning it towards the camera; ``invariant`` = up to turns about y.
    :param rotation: ``chordal`` = Euclidean distance between the tips of predicted and true axes; ``l1`` = sum of the
        absolute differences of their entries, which has minima away from the truth.
    :param likelihood: of the errors, given the predicted scales. A Laplace scale is a mean absolute error, which few
        large errors move little; a Gaussian one is a root mean square.
    """

    symmetry: Literal["canonical", "invariant"] = "canonical"
    rotation: RotationNorm = "chordal"
    likelihood: Literal["laplace", "gaussian"] = "laplace"
    weights: LossWeights = field(default_factory=LossWeights)
    matching: MatchingWeights = field(default_factory=MatchingWeights)


class Criterion(nn.Module):
    """Every layer's queries are matched and penalised on their own (auxiliary losses), summed with equal weight."""

    def __init__(self, config: CriterionConfig, canonical_focal: float, normalise: Normaliser = at_least_one) -> None:
        super().__init__()
        self.config = config
        self.canonical_focal = canonical_focal
        self.normalise = normalise
        self.distance = PoseDistance(config.symmetry == "invariant", config.rotation)

    def forward(
        self, prediction: Prediction, targets: Targets, intrinsics: Tensor, image_size: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The weighted sum and its unweighted terms; layers' terms are those of the last layer.

        :param intrinsics: (B, 3, 3); :param image_size: (2,) width and height, pixels.
        """
        terms: dict[str, Tensor] = {}
        total = intrinsics.new_zeros(())
        matched = match_layers(
            prediction.layers, prediction.valid, targets, intrinsics, image_size, self.config.matching, self.distance
        )
        for layer, matches in zip(prediction.layers, matched, strict=True):
            terms = object_losses(
                layer,
                prediction.valid,
                targets,
                matches,
                intrinsics,
                image_size,
                self.distance,
                self.config.likelihood,
                self.normalise,
            )
            total = total + self._weighted(terms)
        extra: dict[str, Tensor] = {}
        if prediction.denoising is not None:
            extra["denoising"] = self._denoising(prediction, targets, intrinsics, image_size)
        if prediction.dense is not None:
            extra |= dense_losses(prediction.dense, targets, intrinsics, self.canonical_focal, self.normalise)
        if prediction.centre is not None:
            extra |= centre_losses(
                prediction.centre, targets, intrinsics, image_size, self.canonical_focal, self.normalise
            )
        return total + self._weighted(extra), terms | extra

    def _weighted(self, terms: dict[str, Tensor]) -> Tensor:
        weights = vars(self.config.weights)
        return sum((weights[name] * value for name, value in terms.items()), start=torch.zeros(()))

    def _denoising(self, prediction: Prediction, targets: Targets, intrinsics: Tensor, image_size: Tensor) -> Tensor:
        """The weighted terms of the denoising queries, all layers: each belongs to the place whose truth was noised.

        Their errors are those of queries that were told the truth, so the uncertainty must not learn from them.
        """
        queries = prediction.denoising
        assert queries is not None
        sample, query = queries.present.nonzero(as_tuple=True)
        matches = Matches(sample, query, query % queries.places)
        total = intrinsics.new_zeros(())
        for layer in prediction.denoised:
            terms = object_losses(
                layer,
                queries.present,
                targets,
                matches,
                intrinsics,
                image_size,
                self.distance,
                normalise=self.normalise,
            )
            del terms["uncertainty"]
            total = total + self._weighted(terms)
        return total


def object_losses(
    prediction: ObjectPrediction,
    valid: Tensor,
    targets: Targets,
    matches: Matches,
    intrinsics: Tensor,
    image_size: Tensor,
    distance: PoseDistance = AS_LABELLED,
    likelihood: Literal["laplace", "gaussian"] = "laplace",
    normalise: Normaliser = at_least_one,
) -> dict[str, Tensor]:
    """Terms of one layer, each a mean over the matched objects (over one, where there are none).

    :param distance: how rotations and sizes are compared.
    """
    s, q, m = matches.sample, matches.query, matches.target
    count = normalise(torch.tensor(float(len(s)), device=s.device))
    labels = torch.zeros_like(prediction.logits)
    classes = targets.classes[s, m]
    labels[s, q, classes] = 1.0

    translation = prediction.translation[s, q]
    rotation, size = prediction.pose_of(s, q, classes)
    true_translation, true_rotation, true_size = (targets.translation[s, m], targets.rotation[s, m], targets.size[s, m])
    pixels = project(translation[:, None], intrinsics[s])[:, 0] / image_size
    true_pixels = project(true_translation[:, None], intrinsics[s])[:, 0] / image_size
    log_z = translation[:, 2].clamp_min(NEAR).log() - true_translation[:, 2].clamp_min(NEAR).log()
    symmetric = targets.symmetric[s, m]
    error = _pose_error(translation, rotation, true_translation, true_rotation, symmetric).detach()
    return {
        "classification": (focal_loss(prediction.logits, labels) * valid[..., None]).sum() / count,
        "centre_uv": (pixels - true_pixels).abs().sum() / count,
        "log_depth": log_z.abs().sum() / count,
        "position": (translation - true_translation).abs().sum() / count,
        "rotation": distance.of_rotations(rotation, true_rotation, symmetric).sum() / count,
        "log_size": distance.of_extents(size.log(), true_size.log(), symmetric).sum() / count,
        "size": distance.of_extents(size, true_size, symmetric).sum() / count,
        "uncertainty": _unlikelihood(error, prediction.log_scale[s, q], symmetric, likelihood).sum() / count,
    }


def focal_loss(logits: Tensor, labels: Tensor, alpha: float = 0.25, gamma: float = 2.0) -> Tensor:
    """Sigmoid focal loss (Lin et al. 2017), elementwise."""
    probability = logits.sigmoid()
    wrong = torch.where(labels > 0, 1 - probability, probability)
    weight = torch.where(labels > 0, alpha, 1 - alpha)
    return weight * wrong**gamma * F.binary_cross_entropy_with_logits(logits, labels, reduction="none")


def negative_log_likelihood(error: Tensor, log_scale: Tensor, likelihood: Literal["laplace", "gaussian"]) -> Tensor:
    """Of errors of scale b (variance 2b² for both, see ObjectPrediction), elementwise, less a constant.

    Laplace: log b + |e|/b, least at b = mean |e|. Gaussian: log b + e²/4b², least at 2b² = mean e².
    """
    if likelihood == "laplace":
        return log_scale + error.abs() * (-log_scale).exp()
    return log_scale + (error / 2 * (-log_scale).exp()).square()


def _pose_error(
    translation: Tensor, rotation: Tensor, true_translation: Tensor, true_rotation: Tensor, symmetric: Tensor
) -> Tensor:
    """Errors (P, 6) that ObjectPrediction.log_scale speaks of: of x/z, y/z, log z and the rotation vector."""
    z, true_z = translation[:, 2:].clamp_min(NEAR), true_translation[:, 2:].clamp_min(NEAR)
    slopes = translation[:, :2] / z - true_translation[:, :2] / true_z
    return torch.cat([slopes, (z / true_z).log(), turn_error(rotation, true_rotation, symmetric)], dim=-1)


def _unlikelihood(
    error: Tensor, log_scale: Tensor, symmetric: Tensor, likelihood: Literal["laplace", "gaussian"]
) -> Tensor:
    """(P,): the turn of a symmetric object is no error and is left out."""
    terms = negative_log_likelihood(error, log_scale, likelihood)
    return terms.sum(-1) - terms[:, 4] * symmetric
