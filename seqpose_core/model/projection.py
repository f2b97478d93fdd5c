# SPDX-License-Identifier: Apache-2.0
"""Pinhole projection in torch, batched: camera-frame metres to pixels and back. Pixel centres at integers."""

from __future__ import annotations

import torch
from torch import Tensor

#: Nearest depth, metres, that is treated as in front of the camera.
NEAR = 0.05


def project(points: Tensor, intrinsics: Tensor) -> Tensor:
    """Camera-frame points (B, ..., 3), metres, to pixels (B, ..., 2). Depths under NEAR are clamped to it."""
    focal, centre = _focal_and_centre(intrinsics, points.dim())
    return points[..., :2] / points[..., 2:].clamp_min(NEAR) * focal + centre


def unproject(pixels: Tensor, depth: Tensor, intrinsics: Tensor) -> Tensor:
    """Pixels (B, ..., 2) at depth z (B, ...), metres, to camera-frame points (B, ..., 3)."""
    focal, centre = _focal_and_centre(intrinsics, pixels.dim())
    z = depth.unsqueeze(-1)
    return torch.cat([(pixels - centre) / focal * z, z], dim=-1)


def mean_focal(intrinsics: Tensor) -> Tensor:
    """Geometric mean of fx and fy, (B,), pixels."""
    return (intrinsics[:, 0, 0] * intrinsics[:, 1, 1]).sqrt()


def ray_rotation(points: Tensor) -> Tensor:
    """Smallest rotation (..., 3, 3) that turns the optical axis onto the ray through points (..., 3).

    It carries an allocentric rotation (as seen along the ray) into the camera's axes.
    """
    # A point behind the camera has no ray; the nearest one in front stands in, which keeps this a rotation.
    front = torch.cat([points[..., :2], points[..., 2:].clamp_min(NEAR)], dim=-1)
    ray = torch.nn.functional.normalize(front, dim=-1)
    x, y, z = ray.unbind(-1)
    k = 1.0 / (1.0 + z)
    rows = [1 - x * x * k, -x * y * k, x, -x * y * k, 1 - y * y * k, y, -x, -y, z]
    return torch.stack(rows, dim=-1).unflatten(-1, (3, 3))


def exact_product(first: Tensor, second: Tensor) -> Tensor:
    """Product of small matrices (..., I, J) and (..., J, K) that keeps float32 under autocast.

    There ``@`` would round poses to bfloat16: half a degree, and millimetres at one metre.
    """
    return (first[..., :, :, None] * second[..., None, :, :]).sum(-2)


def _focal_and_centre(intrinsics: Tensor, dimensions: int) -> tuple[Tensor, Tensor]:
    shape = (len(intrinsics),) + (1,) * (dimensions - 2) + (2,)
    focal = torch.stack([intrinsics[:, 0, 0], intrinsics[:, 1, 1]], dim=-1)
    return focal.reshape(shape), intrinsics[:, :2, 2].reshape(shape)
