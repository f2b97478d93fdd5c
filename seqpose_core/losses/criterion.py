# SPDX-License-Identifier: Apache-2.0
"""Eq. 10: the set criterion on the queries of every layer, and the dense terms."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seqpose_core.losses.dense import centre_losses, dense_losses
from seqpose_core.losses.matching import Matches, MatchingWeights, match
from seqpose_core.losses.normalise import Normaliser, at_least_one
from seqpose_core.losses.rotation_modes import mode_losses
from seqpose_core.losses.symmetry import CANONICAL, PoseDistance, RotationNorm, rotation_error_vector
from seqpose_core.losses.targets import Targets
from seqpose_core.model.pose_head import ObjectPrediction
from seqpose_core.model.projection import NEAR, Pinhole
from seqpose_core.model.seqpose import Prediction

Likelihood = Literal["laplace", "gaussian"]


@dataclass(frozen=True)
class LossWeights:
    """Weights of Eq. 10. A weight of 0 leaves a term out of the sum.

    :param centre_uv, log_depth: L1 of the projected centre (in image widths and heights) and of log z.
    :param position: L1 in metres (the paper's λ2; by default the two terms above are used instead).
    :param rotation: mean difference of the three axes, see ``CriterionConfig.rotation``.
    :param rotation_mode: of the scores of the rotation modes, if the head has several; not in Eq. 10.
    :param angular_size: L1 of the logarithm of diagonal / z. An image determines this ratio much better than size or
        distance alone. Not in Eq. 10.
    :param log_size: L1 of the logarithm of the extents.
    :param size: L1 of the extents in metres (the paper's λ4; by default the term above is used instead).
    :param uncertainty: negative log likelihood of the errors, which trains the uncertainty only.
    :param denoising: weight of the weighted sum of all terms of the denoising queries; not in Eq. 10.
    """

    classification: float = 2.0
    centre_uv: float = 10.0
    log_depth: float = 5.0
    position: float = 0.0
    rotation: float = 3.0
    rotation_mode: float = 1.0
    log_size: float = 2.0
    size: float = 0.0
    angular_size: float = 3.0
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
    """The form of the losses.

    :param symmetry: ``canonical`` = rotation and size of symmetric objects are compared with the label, which the data
        set makes unique by rotating the object's x axis towards the camera; ``invariant`` = up to rotations about y.
    :param rotation: ``chordal`` = Euclidean distance between the tips of predicted and ground-truth axes; ``l1`` = sum
        of the absolute differences of their entries, which has further local minima.
    :param likelihood: likelihood of the errors, given the predicted scales. A Laplace scale is a mean absolute error,
        which is robust to outliers; a Gaussian scale is a root mean square.
    """

    symmetry: Literal["canonical", "invariant"] = "canonical"
    rotation: RotationNorm = "chordal"
    likelihood: Likelihood = "laplace"
    weights: LossWeights = field(default_factory=LossWeights)
    matching: MatchingWeights = field(default_factory=MatchingWeights)


@dataclass(frozen=True)
class ObjectLossOptions:
    """How the terms of the matched objects are computed.

    :param distance: how rotations and extents are compared. :param likelihood: of the errors, see CriterionConfig.
    :param normalise: returns the divisor of the sums over objects.
    """

    distance: PoseDistance = CANONICAL
    likelihood: Likelihood = "laplace"
    normalise: Normaliser = at_least_one


_DEFAULT_OPTIONS = ObjectLossOptions()


class Criterion(nn.Module):
    """The queries of every layer are matched and penalised separately (auxiliary losses) and summed at equal weight."""

    def __init__(self, config: CriterionConfig, canonical_focal: float, normalise: Normaliser = at_least_one) -> None:
        super().__init__()
        self.config = config
        self.canonical_focal = canonical_focal
        distance = PoseDistance(config.symmetry == "invariant", config.rotation)
        self.options = ObjectLossOptions(distance, config.likelihood, normalise)

    def forward(self, prediction: Prediction, targets: Targets, pinhole: Pinhole) -> tuple[Tensor, dict[str, Tensor]]:
        """The weighted sum and its unweighted terms; terms of the objects are those of the last layer."""
        terms: dict[str, Tensor] = {}
        total = pinhole.intrinsics.new_zeros(())
        options, normalise = self.options, self.options.normalise
        # All layers with the same queries in one pass: on a GPU, launching the many small operations takes most of the
        # time of a step.
        for group, valid in prediction.layer_groups():
            layers = ObjectPrediction.concatenate(group)
            matches = match(layers, valid, targets, pinhole, self.config.matching, options.distance)
            terms = object_losses(layers, valid, targets, matches, pinhole, options)
            total = total + self._weighted({name: values.sum() for name, values in terms.items()})
        terms = {name: values[-1] for name, values in terms.items()}
        extra: dict[str, Tensor] = {}
        if prediction.denoising is not None:
            extra["denoising"] = self._denoising(prediction, targets, pinhole)
        if prediction.dense is not None:
            extra |= dense_losses(prediction.dense, targets, pinhole, self.canonical_focal, normalise)
        if prediction.centre is not None:
            extra |= centre_losses(prediction.centre, targets, pinhole, self.canonical_focal, normalise)
        return total + self._weighted(extra), terms | extra

    def _weighted(self, terms: dict[str, Tensor]) -> Tensor:
        weights = vars(self.config.weights)
        return sum((weights[name] * value for name, value in terms.items()), start=torch.zeros(()))

    def _denoising(self, prediction: Prediction, targets: Targets, pinhole: Pinhole) -> Tensor:
        """The weighted terms of the denoising queries of all layers, each matched to the object it was noised from.

        They do not train the uncertainty: they start near the ground truth, so their errors are too small.
        """
        queries = prediction.denoising
        assert queries is not None
        sample, query = queries.present.nonzero(as_tuple=True)
        count, layers = len(prediction.denoised), ObjectPrediction.concatenate(prediction.denoised)
        first = len(queries.present) * torch.arange(count, device=sample.device)[:, None]
        query = query.repeat(count)
        matches = Matches((first + sample).flatten(), query, query % queries.group_size)
        terms = object_losses(layers, queries.present, targets, matches, pinhole, self.options)
        del terms["uncertainty"]
        return self._weighted({name: values.sum() for name, values in terms.items()})


def object_losses(
    prediction: ObjectPrediction,
    valid: Tensor,
    targets: Targets,
    matches: Matches,
    pinhole: Pinhole,
    options: ObjectLossOptions = _DEFAULT_OPTIONS,
) -> dict[str, Tensor]:
    """Terms (L,) of L layers: sums over the matched objects, divided by their number (by 1 if there are none).

    :param prediction: of the L layers of B samples one after the other, (L·B, Q, ...).
    :param valid: (B, Q) bool; the focal loss ignores invalid queries.
    :param targets, pinhole: of the B samples. :param matches: of all layers, the same number for each.
    """
    distance, layers = options.distance, len(prediction.logits) // len(valid)
    row, q, m = matches.sample, matches.query, matches.target
    s = row % len(valid)
    count = options.normalise(torch.tensor(float(len(row) // layers), device=row.device))

    def mean(values: Tensor) -> Tensor:
        return values.reshape(layers, values.numel() // layers).sum(-1) / count

    labels = torch.zeros_like(prediction.logits)
    classes = targets.classes[s, m]
    labels[row, q, classes] = 1.0

    translation = prediction.translation[row, q]
    rotation, size = prediction.pose_of_pairs(row, q, classes)
    target_translation, target_rotation = targets.translation[s, m], targets.rotation[s, m]
    target_size, symmetric = targets.size[s, m], targets.symmetric[s, m]
    matched = pinhole.select(s)
    pixels = matched.project(translation[:, None])[:, 0] / pinhole.image_size
    target_pixels = matched.project(target_translation[:, None])[:, 0] / pinhole.image_size
    log_z = translation[:, 2].clamp_min(NEAR).log() - target_translation[:, 2].clamp_min(NEAR).log()
    rotation_loss = distance.of_rotations(rotation, target_rotation, symmetric)
    extra: dict[str, Tensor] = {}
    if prediction.modes is not None and prediction.mode_logits is not None:
        hypotheses, logits = prediction.modes[row, q], prediction.mode_logits[row, q]
        modes = mode_losses(hypotheses, logits, target_rotation, symmetric, distance)
        # The scales are those within a mode; the spread of the modes is added where the covariance is computed.
        rotation, rotation_loss = modes.nearest, modes.regression
        extra["rotation_mode"] = mean(modes.selection)
    with torch.no_grad():
        error = _pose_error(translation, rotation, target_translation, target_rotation, symmetric)
    return {
        "classification": mean(focal_loss(prediction.logits, labels) * valid.repeat(layers, 1)[..., None]),
        "centre_uv": mean((pixels - target_pixels).abs()),
        "log_depth": mean(log_z.abs()),
        "position": mean((translation - target_translation).abs()),
        "rotation": mean(rotation_loss),
        "log_size": mean(distance.of_extents(size.log(), target_size.log(), symmetric)),
        "size": mean(distance.of_extents(size, target_size, symmetric)),
        "angular_size": mean((size.norm(dim=-1).log() - target_size.norm(dim=-1).log() - log_z).abs()),
        "uncertainty": mean(_uncertainty_loss(error, prediction.log_scale[row, q], symmetric, options.likelihood)),
        **extra,
    }


def focal_loss(logits: Tensor, labels: Tensor, alpha: float = 0.25, gamma: float = 2.0) -> Tensor:
    """Sigmoid focal loss (Lin et al. 2017), elementwise."""
    probability = logits.sigmoid()
    wrong = torch.where(labels > 0, 1 - probability, probability)
    weight = torch.where(labels > 0, alpha, 1 - alpha)
    return weight * wrong**gamma * F.binary_cross_entropy_with_logits(logits, labels, reduction="none")


def negative_log_likelihood(error: Tensor, log_scale: Tensor, likelihood: Likelihood) -> Tensor:
    """Negative log likelihood of errors with scale b (see ObjectPrediction), elementwise, up to a constant.

    Laplace: log b + |e|/b, minimal at b = mean |e|. Gaussian: log b + e²/4b², minimal at 2b² = mean e².
    """
    if likelihood == "laplace":
        return log_scale + error.abs() * (-log_scale).exp()
    return log_scale + (error / 2 * (-log_scale).exp()).square()


def _pose_error(
    translation: Tensor, rotation: Tensor, target_translation: Tensor, target_rotation: Tensor, symmetric: Tensor
) -> Tensor:
    """Errors (P, 6) in the order of ObjectPrediction.log_scale: x/z, y/z, log z and the rotation vector."""
    z, target_z = translation[:, 2:].clamp_min(NEAR), target_translation[:, 2:].clamp_min(NEAR)
    slopes = translation[:, :2] / z - target_translation[:, :2] / target_z
    rotation_error = rotation_error_vector(rotation, target_rotation, symmetric)
    return torch.cat([slopes, (z / target_z).log(), rotation_error], dim=-1)


def _uncertainty_loss(error: Tensor, log_scale: Tensor, symmetric: Tensor, likelihood: Likelihood) -> Tensor:
    """(P,) sums over the six errors; the rotation of a symmetric object about y is left out."""
    terms = negative_log_likelihood(error, log_scale, likelihood)
    return terms.sum(-1) - terms[:, 4] * symmetric
