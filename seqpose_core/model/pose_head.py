# SPDX-License-Identifier: Apache-2.0
"""Eq. 9: class, translation, rotation, size and their uncertainty from each query."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import roma
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seqpose_core.model.config import HeadConfig
from seqpose_core.model.layers import mlp
from seqpose_core.model.projection import FAR, NEAR, Pinhole, matmul_fp32, ray_rotation, rotation_from_columns


@dataclass(frozen=True)
class ObjectPrediction:
    """The objects that Q queries predict, per sample of the batch.

    :param logits: (B, Q, C) a sigmoid logit per category; -1e4 for an invalid query.
    :param translation: (B, Q, 3) box centre in the camera frame, metres.
    :param rotation: (B, Q, 3, 3) object to camera.
    :param size: (B, Q, 3) full extents along the object's axes, metres.
    :param log_scale: (B, Q, 6) logarithm of the scale b of the errors in x/z, y/z, log z and the rotation vector
        (radians) in the object frame. The variance is 2b²: b is the scale of a Laplace error, or 1/√2 of the standard
        deviation of a Gaussian error.
    :param rotations, sizes: (B, Q, C, 3, 3) and (B, Q, C, 3), a pose per category, if the head is per category;
        ``rotation`` and ``size`` are then those of the category with the highest score.
    :param modes, mode_logits: (B, Q, K, 3, 3) and (B, Q, K), the rotation hypotheses and their softmax logits, if the
        head has K > 1 of them; ``rotation`` is then the one in the densest place, see :func:`densest_mode`.
    """

    logits: Tensor
    translation: Tensor
    rotation: Tensor
    size: Tensor
    log_scale: Tensor
    rotations: Tensor | None = None
    sizes: Tensor | None = None
    modes: Tensor | None = None
    mode_logits: Tensor | None = None

    @classmethod
    def concatenate(cls, predictions: Sequence[ObjectPrediction]) -> ObjectPrediction:
        """N predictions of the same head one after the other: (N·B, Q, ...)."""
        names = [name for name, value in vars(predictions[0]).items() if value is not None]
        return cls(**{name: torch.cat([getattr(one, name) for one in predictions]) for name in names})

    def of_category(self, classes: Tensor) -> ObjectPrediction:
        """The same queries with rotation and size of the categories ``classes`` (B, Q) int64, 0..C-1."""
        if self.rotations is None or self.sizes is None:
            return self
        index = classes[..., None, None]
        size = self.sizes.gather(2, index.expand(-1, -1, -1, 3))[:, :, 0]
        rotation = self.rotations.gather(2, index[..., None].expand(-1, -1, -1, 3, 3))[:, :, 0]
        return replace(self, rotation=rotation, size=size)

    def pose_of_pairs(self, sample: Tensor, query: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
        """Rotations (P, 3, 3) and sizes (P, 3) of P queries for the categories ``classes`` (P,) int64, 0..C-1."""
        if self.rotations is None or self.sizes is None:
            return self.rotation[sample, query], self.size[sample, query]
        return self.rotations[sample, query, classes], self.sizes[sample, query, classes]

    def select(self, queries: slice | Tensor) -> ObjectPrediction:
        """The predictions of some queries, in the given order."""
        return ObjectPrediction(**{name: v[:, queries] for name, v in vars(self).items() if v is not None})


#: Elevation of the camera above the plane that typical objects stand on, radians.
_TYPICAL_ELEVATION = math.radians(40)


def mode_rotations(count: int) -> Tensor:
    """(K, 3, 3) rotations from which the hypotheses start: R·R_y(2πk/K), R that of a standing object.

    The camera looks down on it from a typical elevation e: the object's y axis is (0, -cos e, -sin e) in the camera
    frame, and its x axis points to the right for k = 0.
    """
    cosine, sine = math.cos(_TYPICAL_ELEVATION), math.sin(_TYPICAL_ELEVATION)
    standing = torch.tensor([[1.0, 0.0, 0.0], [0.0, -cosine, sine], [0.0, -sine, -cosine]])
    yaw = 2 * math.pi / count * torch.arange(count)
    return standing @ roma.rotvec_to_rotmat(F.pad(yaw[:, None], (1, 1)))


#: Distance at which one mode supports another by 1/e of its probability: a yaw of about 26 degrees.
_SUPPORT = 0.3


def densest_mode(modes: Tensor, logits: Tensor) -> Tensor:
    """The hypothesis with the most probability in and near it.

    Several hypotheses often lie close to one rotation and share its probability. The one with the highest score alone
    may then be a less likely rotation that has one hypothesis only.

    :param modes: (B, Q, K, 3, 3). :param logits: (B, Q, K). Returns (B, Q) int64.
    """
    chords = torch.linalg.vector_norm(modes[:, :, :, None] - modes[:, :, None], dim=-2)  # (B, Q, K, K, 3), per axis
    support = (-chords.mean(-1) / _SUPPORT).exp()
    return (support * logits.softmax(-1)[:, :, None]).sum(-1).argmax(-1)


class PoseHead(nn.Module):
    """Eq. 9 on the queries of one layer: an MLP for pose and size, a linear layer for the class."""

    typical_size: Tensor

    def __init__(self, config: HeadConfig, width: int, canonical_focal: float, typical_sizes: np.ndarray) -> None:
        """:param typical_sizes: (C, 3) of the categories, metres."""
        super().__init__()
        categories = len(typical_sizes)
        self.projected = config.translation == "projected"
        self.allocentric = config.rotation == "allocentric"
        self.canonical_focal = canonical_focal
        self.norm = nn.LayerNorm(width)
        self.classify = nn.Linear(width, categories)
        self.poses_per_query = categories if config.per_category else 1
        modes = config.rotation_modes
        self.rotations_per_query = max(self.poses_per_query, modes)
        self.regress = mlp(width, width, 3 + 6 * self.rotations_per_query + 3 * self.poses_per_query)
        self.uncertain = mlp(width, width // 2, 6)
        # Separate from the regression: scores from shared hidden units stay near uniform.
        self.score_modes = mlp(width, width // 2, modes) if modes > 1 else None
        nn.init.constant_(self.classify.bias, -4.0)  # prior of 2 %: most queries match no object
        last, scale = self.regress[2], self.uncertain[2]
        assert isinstance(last, nn.Linear) and isinstance(scale, nn.Linear)
        with torch.no_grad():
            last.weight.mul_(0.1)
            last.weight[:3].zero_()
            last.bias.zero_()
            start = torch.eye(3)[None] if modes == 1 else mode_rotations(modes)
            columns = start[..., :2].transpose(-1, -2).flatten()  # the first two of each rotation
            last.bias[3 : 3 + 6 * self.rotations_per_query] = columns.repeat(self.rotations_per_query // modes)
            scale.bias.fill_(-2.0)
        typical = typical_sizes if config.per_category else np.exp(np.log(typical_sizes).mean(0))
        self.register_buffer("typical_size", torch.tensor(typical, dtype=torch.float32), persistent=False)

    def forward(self, query: Tensor, reference: Tensor, pinhole: Pinhole) -> ObjectPrediction:
        """query (B, Q, C); reference (B, Q, 3), metres in the camera frame."""
        x = self.norm(query)
        widths = [3, 6 * self.rotations_per_query, 3 * self.poses_per_query]
        shift, six_d, extent = self.regress(x).float().split(widths, dim=-1)
        translation = self._translate(reference, shift, pinhole)
        six_d = six_d.unflatten(-1, (self.rotations_per_query, 2, 3))
        extent = extent.unflatten(-1, (self.poses_per_query, 3))
        # Zhou et al. 2019: two 3-vectors, orthonormalised, are the first two columns.
        rotations = rotation_from_columns(*six_d.unbind(-2))
        if self.allocentric:
            rotations = matmul_fp32(ray_rotation(translation.detach())[:, :, None], rotations)
        sizes = self.typical_size * extent.clamp(-3.0, 3.0).exp()
        logits = self.classify(x).float()
        log_scale = self.uncertain(x.detach()).float().clamp(-7.0, 2.0)
        objects = ObjectPrediction(logits, translation, rotations[:, :, 0], sizes[:, :, 0], log_scale)
        if self.score_modes is not None:
            mode_logits = self.score_modes(x).float()
            best = densest_mode(rotations.detach(), mode_logits.detach())
            rotation = rotations.gather(2, best[..., None, None, None].expand(-1, -1, 1, 3, 3))[:, :, 0]
            return replace(objects, rotation=rotation, modes=rotations, mode_logits=mode_logits)
        if self.poses_per_query == 1:
            return objects
        return replace(objects, rotations=rotations, sizes=sizes).of_category(logits.argmax(-1))

    def translation(self, query: Tensor, reference: Tensor, pinhole: Pinhole) -> Tensor:
        """Only the ``translation`` (B, Q, 3) of :meth:`forward`, for layers whose other results are not used."""
        first, activation, last = self.regress
        assert isinstance(last, nn.Linear)
        shift = F.linear(activation(first(self.norm(query))), last.weight[:3], last.bias[:3])
        return self._translate(reference, shift.float(), pinhole)

    def _translate(self, reference: Tensor, shift: Tensor, pinhole: Pinhole) -> Tensor:
        if not self.projected:
            return reference + shift
        pixels = pinhole.project(reference) + shift[..., :2] * pinhole.image_size
        # The shift of canonical log depth equals that of log z: the reference already includes the focal length.
        depth = (reference[..., 2].clamp_min(NEAR) * shift[..., 2].clamp(-3.0, 3.0).exp()).clamp(NEAR, FAR)
        return pinhole.unproject(pixels, depth)
