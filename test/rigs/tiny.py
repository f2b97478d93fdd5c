# SPDX-License-Identifier: Apache-2.0
"""A small SeqPose for tests, with random inputs and targets."""

from __future__ import annotations

import torch
from torch import Tensor

from seqpose_core.losses.targets import Targets
from seqpose_core.model.config import DecoderConfig, DenseConfig, MemoryConfig, QueryConfig, SeqPoseConfig
from seqpose_core.model.encoder_config import EncoderConfig
from seqpose_core.model.memory import FrameMotion, QueryMemory, relative_motion
from seqpose_core.model.projection import Pinhole
from seqpose_core.model.seqpose import SeqPose
from seqpose_core.model.step_graph import StepInput

HEIGHT, WIDTH = 84, 112


def tiny_config(anchors: int = 6, proposals: int = 8, memory_frames: int = 3) -> SeqPoseConfig:
    return SeqPoseConfig(
        image_height=HEIGHT,
        image_width=WIDTH,
        fusion_width=32,
        encoder=EncoderConfig(width=32, depth=3, heads=2, stem_width=16, neck_width=16),
        dense=DenseConfig(width=16),
        queries=QueryConfig(anchors=anchors, proposals=proposals),
        decoder=DecoderConfig(width=32, layers=2, heads=2, points=2),
        memory=MemoryConfig(frames=memory_frames, top_k=4),
    )


def tiny_model(seed: int = 0, **options: int) -> SeqPose:
    """Random weights, in evaluation mode. Weights initialised to zero are moved, so that every path has an effect."""
    torch.manual_seed(seed)
    model = SeqPose(tiny_config(**options))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model.eval()


def frames(batch: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Random images (B, 3, H, W) and intrinsics (B, 3, 3), different for each sample."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.rand(batch, 3, HEIGHT, WIDTH, generator=generator)
    focal = 95.0 + 20.0 * torch.rand(batch, generator=generator)
    intrinsics = torch.zeros(batch, 3, 3)
    intrinsics[:, 0, 0] = intrinsics[:, 1, 1] = focal
    intrinsics[:, 0, 2], intrinsics[:, 1, 2], intrinsics[:, 2, 2] = WIDTH / 2, HEIGHT / 2, 1.0
    return images, intrinsics


def camera_poses(batch: int, seed: int = 0) -> Tensor:
    """World-from-camera poses (B, 4, 4): small rotations and translations."""
    generator = torch.Generator().manual_seed(seed)
    rotation = torch.linalg.matrix_exp(_skew(0.2 * torch.randn(batch, 3, generator=generator)))
    poses = torch.eye(4).repeat(batch, 1, 1)
    poses[:, :3, :3] = rotation
    poses[:, :3, 3] = 0.1 * torch.randn(batch, 3, generator=generator)
    return poses


def step_input(pixels: Tensor, intrinsics: Tensor, memory: QueryMemory, frame: FrameMotion) -> StepInput:
    """The arguments of a step for a frame after those in ``memory``; pixels (B, 3, H, W) in 0..255."""
    relative = relative_motion(memory, frame)
    motion = (relative.motion, relative.elapsed, relative.known)
    image = pixels.permute(0, 2, 3, 1).byte()
    return StepInput(image, intrinsics, *motion, memory.embedding, memory.reference, memory.valid)


def pinhole(intrinsics: Tensor) -> Pinhole:
    """The cameras of images of this size."""
    return Pinhole(intrinsics, torch.tensor([float(WIDTH), float(HEIGHT)]))


def targets(batch: int, counts: list[int], seed: int = 0, padded_to: int = 5) -> Targets:
    """Random ground truth with ``counts[b]`` objects in sample b, in view of the cameras of :func:`frames`."""
    generator = torch.Generator().manual_seed(seed)
    classes = torch.full((batch, padded_to), -1)
    for sample, count in enumerate(counts):
        classes[sample, :count] = torch.randint(0, 6, (count,), generator=generator)
    depth = 0.5 + torch.rand(batch, padded_to, 1, generator=generator)
    shift = (torch.rand(batch, padded_to, 2, generator=generator) - 0.5) * 0.6 * depth
    rotation = torch.linalg.matrix_exp(_skew(torch.randn(batch, padded_to, 3, generator=generator)))
    return Targets(
        classes=classes,
        rotation=rotation,
        translation=torch.cat([shift, depth], dim=-1),
        size=0.05 + 0.2 * torch.rand(batch, padded_to, 3, generator=generator),
        symmetric=torch.isin(classes, torch.tensor([0, 1, 3])),
        segmentation=torch.randint(0, 7, (batch, 24, 32), generator=generator),
        depth=0.5 + torch.rand(batch, 24, 32, generator=generator),
        normals=torch.nn.functional.normalize(torch.randn(batch, 3, 24, 32, generator=generator), dim=1),
        nocs=torch.rand(batch, 3, 24, 32, generator=generator),
    )


def _skew(vectors: Tensor) -> Tensor:
    x, y, z = vectors.unbind(-1)
    zero = torch.zeros_like(x)
    return torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=-1).unflatten(-1, (3, 3))
