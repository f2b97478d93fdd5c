# SPDX-License-Identifier: Apache-2.0
"""Pinhole projection in torch, batched: camera-frame metres to pixels and back. Pixel centres are at integers."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

#: Nearest and farthest depth, metres, that a prediction can have. Points nearer than NEAR count as behind the camera.
NEAR, FAR = 0.05, 20.0


@dataclass(frozen=True)
class Pinhole:
    """The pinhole cameras of a batch of images, without distortion.

    :param intrinsics: (B, 3, 3) pixels.
    :param image_size: (2,) width and height in pixels, the same for all images.
    """

    intrinsics: Tensor
    image_size: Tensor

    @property
    def focal(self) -> Tensor:
        """fx and fy, (B, 2), pixels."""
        return torch.stack([self.intrinsics[:, 0, 0], self.intrinsics[:, 1, 1]], dim=-1)

    @property
    def mean_focal(self) -> Tensor:
        """Geometric mean of fx and fy, (B,), pixels."""
        return (self.intrinsics[:, 0, 0] * self.intrinsics[:, 1, 1]).sqrt()

    def select(self, samples: Tensor) -> Pinhole:
        """The cameras of ``samples`` (P,) int64; an index may occur more than once."""
        return Pinhole(self.intrinsics[samples], self.image_size)

    def repeat(self, times: int) -> Pinhole:
        """All cameras ``times`` times, one after the other."""
        return Pinhole(self.intrinsics.repeat(times, 1, 1), self.image_size)

    def project(self, points: Tensor) -> Tensor:
        """Camera-frame points (B, ..., 3), metres, to pixels (B, ..., 2). Depths below NEAR are clamped to it."""
        focal, centre = self._focal_and_centre(points.dim())
        return points[..., :2] / points[..., 2:].clamp_min(NEAR) * focal + centre

    def unproject(self, pixels: Tensor, depth: Tensor) -> Tensor:
        """Pixels (B, ..., 2) at depth z (B, ...), metres, to camera-frame points (B, ..., 3)."""
        focal, centre = self._focal_and_centre(pixels.dim())
        z = depth.unsqueeze(-1)
        return torch.cat([(pixels - centre) / focal * z, z], dim=-1)

    def _focal_and_centre(self, dimensions: int) -> tuple[Tensor, Tensor]:
        shape = (-1,) + (1,) * (dimensions - 2) + (2,)
        return self.focal.reshape(shape), self.intrinsics[:, :2, 2].reshape(shape)


def ray_rotation(points: Tensor) -> Tensor:
    """Smallest rotation (..., 3, 3) from the optical axis to the ray through points (..., 3).

    It converts an allocentric rotation (relative to the ray) to an egocentric one (relative to the camera's axes).
    """
    # A point behind the camera has no ray. It is moved in front of the camera, so that the result is a rotation.
    front = torch.cat([points[..., :2], points[..., 2:].clamp_min(NEAR)], dim=-1)
    ray = F.normalize(front, dim=-1)
    x, y, z = ray.unbind(-1)
    k = 1.0 / (1.0 + z)
    rows = [1 - x * x * k, -x * y * k, x, -x * y * k, 1 - y * y * k, y, -x, -y, z]
    return torch.stack(rows, dim=-1).unflatten(-1, (3, 3))


def rotation_from_columns(first: Tensor, second: Tensor) -> Tensor:
    """Gram-Schmidt: the rotation (..., 3, 3) whose first two columns are nearest to two vectors (..., 3).

    It consists of elementwise operations, which all runtimes can export.
    """
    x = F.normalize(first, dim=-1)
    y = F.normalize(second - (x * second).sum(-1, keepdim=True) * x, dim=-1)
    (x0, x1, x2), (y0, y1, y2) = x.unbind(-1), y.unbind(-1)
    z = torch.stack([x1 * y2 - x2 * y1, x2 * y0 - x0 * y2, x0 * y1 - x1 * y0], dim=-1)
    return torch.stack([x, y, z], dim=-1)


def matmul_fp32(first: Tensor, second: Tensor) -> Tensor:
    """Product of small matrices (..., I, J) and (..., J, K) that stays in float32 under autocast.

    Under autocast, ``@`` rounds poses to bfloat16: half a degree, and millimetres at one metre.
    """
    return (first[..., :, :, None] * second[..., None, :, :]).sum(-2)
