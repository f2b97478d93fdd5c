# SPDX-License-Identifier: Apache-2.0
"""Eq. 9: class, translation, rotation, size and their uncertainty from each query."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import roma
import torch
from torch import Tensor, nn

from seqpose_core.categories import CATEGORIES, TYPICAL_SIZES
from seqpose_core.model.config import HeadConfig
from seqpose_core.model.layers import mlp
from seqpose_core.model.projection import NEAR, mean_focal, project, ray_rotation, unproject

_FARTHEST = 20.0


@dataclass(frozen=True)
class ObjectPrediction:
    """What a set of Q queries says (per sample of the batch).

    :param logits: (B, Q, 6) one sigmoid logit a category; very low for a query that does not exist.
    :param translation: (B, Q, 3) box centre in the camera frame, metres.
    :param rotation: (B, Q, 3, 3) object to camera.
    :param size: (B, Q, 3) full extents along the object's axes, metres.
    :param log_scale: (B, Q, 6) logarithm of the Laplace scale of the errors in x/z, y/z, log z, and of the rotation
        vector (radians) in the object frame.
    """

    logits: Tensor
    translation: Tensor
    rotation: Tensor
    size: Tensor
    log_scale: Tensor


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
        self.regress = mlp(width, width, 3 + 6 + 3)
        self.uncertain = mlp(width, width // 2, 6)
        nn.init.constant_(self.classify.bias, -4.0)  # prior of 2 %: most queries are no object
        last, scale = self.regress[2], self.uncertain[2]
        assert isinstance(last, nn.Linear) and isinstance(scale, nn.Linear)
        with torch.no_grad():
            last.weight.mul_(0.1)
            last.weight[:3].zero_()
            last.bias.zero_()
            last.bias[3:9] = torch.tensor([1.0, 0.0, 0.0, 0.0, 1.0, 0.0])
            scale.bias.fill_(-2.0)
        mean = torch.tensor(np.exp(np.log(TYPICAL_SIZES).mean(0)), dtype=torch.float32)
        self.register_buffer("typical_size", mean, persistent=False)

    def forward(self, query: Tensor, reference: Tensor, intrinsics: Tensor, size: Tensor) -> ObjectPrediction:
        """query (B, Q, C); reference (B, Q, 3) metres; intrinsics (B, 3, 3); size (2,): image width, height."""
        x = self.norm(query)
        shift, turn, extent = self.regress(x).float().split([3, 6, 3], dim=-1)
        translation = self._translate(reference, shift, intrinsics, size)
        # Zhou et al. 2019: two 3-vectors, made orthonormal, are the first two columns.
        rotation = roma.special_gramschmidt(turn.unflatten(-1, (2, 3)).transpose(-1, -2))
        if self.allocentric:
            rotation = ray_rotation(translation.detach()) @ rotation
        return ObjectPrediction(
            logits=self.classify(x).float(),
            translation=translation,
            rotation=rotation,
            size=self.typical_size * extent.clamp(-3.0, 3.0).exp(),
            log_scale=self.uncertain(x.detach()).float().clamp(-7.0, 2.0),
        )

    def _translate(self, reference: Tensor, shift: Tensor, intrinsics: Tensor, size: Tensor) -> Tensor:
        if not self.projected:
            return reference + shift
        pixels = project(reference, intrinsics) + shift[..., :2] * size
        # log(z·f0/f) shifts by as much as log z does: the focal length has entered through the reference.
        depth = (reference[..., 2].clamp_min(NEAR) * shift[..., 2].clamp(-3.0, 3.0).exp()).clamp(NEAR, _FARTHEST)
        return unproject(pixels, depth, intrinsics)


def covariance(prediction: ObjectPrediction) -> Tensor:
    """(B, Q, 6, 6) covariance of x, y, z (m²) and of rotations about the camera's fixed axes (rad²).

    A Laplace error of scale b has variance 2b². Slopes and log depth are carried to metres by the Jacobian of
    (x, y, z) = z·(x/z, y/z, 1); rotation errors are turned from the object's axes to the camera's.
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
