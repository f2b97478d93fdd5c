# SPDX-License-Identifier: Apache-2.0
"""Eq. 9: class, translation, rotation, size and their uncertainty from each query."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import roma
import torch
from torch import Tensor, nn

from seqpose_core.categories import CATEGORIES, TYPICAL_SIZES
from seqpose_core.model.config import HeadConfig
from seqpose_core.model.layers import mlp
from seqpose_core.model.projection import NEAR, exact_product, mean_focal, project, ray_rotation, unproject

_FARTHEST = 20.0


@dataclass(frozen=True)
class ObjectPrediction:
    """What a set of Q queries says (per sample of the batch).

    :param logits: (B, Q, 6) one sigmoid logit a category; very low for a query that does not exist.
    :param translation: (B, Q, 3) box centre in the camera frame, metres.
    :param rotation: (B, Q, 3, 3) object to camera.
    :param size: (B, Q, 3) full extents along the object's axes, metres.
    :param log_scale: (B, Q, 6) logarithm of a scale b of the errors in x/z, y/z, log z, and of the rotation vector
        (radians) in the object frame: their variance is 2b², so b is the scale of a Laplace error, or 1/√2 of a
        Gaussian error's standard deviation.
    :param rotations, sizes: (B, Q, 6, 3, 3) and (B, Q, 6, 3), one a category, where the head keeps them apart;
        ``rotation`` and ``size`` are those of the best-scoring category.
    """

    logits: Tensor
    translation: Tensor
    rotation: Tensor
    size: Tensor
    log_scale: Tensor
    rotations: Tensor | None = None
    sizes: Tensor | None = None

    def of_category(self, classes: Tensor) -> ObjectPrediction:
        """The same queries taken as objects of ``classes`` (B, Q) int64, 0..5."""
        if self.rotations is None or self.sizes is None:
            return self
        index = classes[..., None, None]
        size = self.sizes.gather(2, index.expand(-1, -1, -1, 3))[:, :, 0]
        rotation = self.rotations.gather(2, index[..., None].expand(-1, -1, -1, 3, 3))[:, :, 0]
        return replace(self, rotation=rotation, size=size)

    def pose_of(self, sample: Tensor, query: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
        """Rotations (P, 3, 3) and sizes (P, 3) of P queries taken as objects of ``classes`` (P,)."""
        if self.rotations is None or self.sizes is None:
            return self.rotation[sample, query], self.size[sample, query]
        return self.rotations[sample, query, classes], self.sizes[sample, query, classes]

    def queries(self, part: slice | Tensor) -> ObjectPrediction:
        """Some of the queries, or all in another order."""
        return ObjectPrediction(**{name: v[:, part] for name, v in vars(self).items() if v is not None})


class PoseHead(nn.Module):
    """A feed-forward network for pose and size and a linear one for the class, on the queries of one layer."""

    typical_size: Tensor

    def __init__(self, config: HeadConfig, width: int, canonical_focal: float) -> None:
        super().__init__()
        self.projected = config.translation == "projected"
        self.allocentric = config.rotation == "allocentric"
        self.canonical_focal = canonical_focal
        self.norm = nn.LayerNorm(width)
        self.classify = nn.Linear(width, len(CATEGORIES))
        self.kinds = len(CATEGORIES) if config.per_category else 1
        self.regress = mlp(width, width, 3 + self.kinds * (6 + 3))
        self.uncertain = mlp(width, width // 2, 6)
        nn.init.constant_(self.classify.bias, -4.0)  # prior of 2 %: most queries are no object
        last, scale = self.regress[2], self.uncertain[2]
        assert isinstance(last, nn.Linear) and isinstance(scale, nn.Linear)
        with torch.no_grad():
            last.weight.mul_(0.1)
            last.weight[:3].zero_()
            last.bias.zero_()
            last.bias[3 : 3 + 6 * self.kinds] = torch.tensor([1.0, 0.0, 0.0, 0.0, 1.0, 0.0]).repeat(self.kinds)
            scale.bias.fill_(-2.0)
        typical = TYPICAL_SIZES if config.per_category else np.exp(np.log(TYPICAL_SIZES).mean(0))
        self.register_buffer("typical_size", torch.tensor(typical, dtype=torch.float32), persistent=False)

    def forward(self, query: Tensor, reference: Tensor, intrinsics: Tensor, size: Tensor) -> ObjectPrediction:
        """query (B, Q, C); reference (B, Q, 3) metres; intrinsics (B, 3, 3); size (2,): image width, height."""
        x = self.norm(query)
        shift, turn, extent = self.regress(x).float().split([3, 6 * self.kinds, 3 * self.kinds], dim=-1)
        translation = self._translate(reference, shift, intrinsics, size)
        turn, extent = turn.unflatten(-1, (self.kinds, 2, 3)), extent.unflatten(-1, (self.kinds, 3))
        # Zhou et al. 2019: two 3-vectors, made orthonormal, are the first two columns.
        rotations = roma.special_gramschmidt(turn.transpose(-1, -2))
        if self.allocentric:
            rotations = exact_product(ray_rotation(translation.detach())[:, :, None], rotations)
        sizes = self.typical_size * extent.clamp(-3.0, 3.0).exp()
        logits = self.classify(x).float()
        log_scale = self.uncertain(x.detach()).float().clamp(-7.0, 2.0)
        objects = ObjectPrediction(logits, translation, rotations[:, :, 0], sizes[:, :, 0], log_scale)
        if self.kinds == 1:
            return objects
        return replace(objects, rotations=rotations, sizes=sizes).of_category(logits.argmax(-1))

    def _translate(self, reference: Tensor, shift: Tensor, intrinsics: Tensor, size: Tensor) -> Tensor:
        if not self.projected:
            return reference + shift
        pixels = project(reference, intrinsics) + shift[..., :2] * size
        # log(z·f0/f) shifts by as much as log z does: the focal length has entered through the reference.
        depth = (reference[..., 2].clamp_min(NEAR) * shift[..., 2].clamp(-3.0, 3.0).exp()).clamp(NEAR, _FARTHEST)
        return unproject(pixels, depth, intrinsics)


def covariance(prediction: ObjectPrediction) -> Tensor:
    """(B, Q, 6, 6) covariance of x, y, z (m²) and of rotations about the camera's fixed axes (rad²).

    An error's variance is 2b², whichever likelihood its scale b was trained by. Slopes and log depth are carried to
    metres by the Jacobian of (x, y, z) = z·(x/z, y/z, 1); rotation errors are turned from the object's axes to the
    camera's.
    """
    variance = 2 * (2 * prediction.log_scale).exp()
    t = prediction.translation
    jacobian = torch.diag_embed(t[..., 2:].expand_as(t).clone())
    jacobian = torch.cat([jacobian[..., :2], t[..., :, None]], dim=-1)
    out = t.new_zeros(*t.shape[:-1], 6, 6)
    out[..., :3, :3] = (jacobian * variance[..., None, :3]) @ jacobian.transpose(-1, -2)
    out[..., 3:, 3:] = (prediction.rotation * variance[..., None, 3:]) @ prediction.rotation.transpose(-1, -2)
    return (out + out.transpose(-1, -2)) / 2  # symmetric to the last bit, as consumers check


def reference_from_centre(pixels: Tensor, log_depth: Tensor, intrinsics: Tensor, canonical_focal: float) -> Tensor:
    """3D references (B, Q, 3) of centres at pixels (B, Q, 2) with canonical log depth (B, Q)."""
    focal = mean_focal(intrinsics)[:, None] / canonical_focal
    depth = (log_depth.float().clamp(-4.0, 4.0).exp() * focal).clamp(NEAR, _FARTHEST)
    return unproject(pixels, depth, intrinsics)
