# SPDX-License-Identifier: Apache-2.0
"""Eq. 5 and 6: the sparse query memory, an immutable value that is passed into a step and comes out of it."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from seqpose_core.model.projection import exact_product


@dataclass(frozen=True)
class QueryMemory:
    """The top K queries of each of the last N frames, newest frame first; slot n·K + k is query k of frame n.

    Nothing in it refers to a network or a stream, so one network serves many cameras, and a batch can hold
    samples of different histories. Gradients flow through ``embedding`` unless it was detached.

    :param embedding: (B, N·K, C).
    :param reference: (B, N·K, 3) metres, in the camera frame of the frame that the query comes from.
    :param stamp: (B, N·K) float64 seconds; NaN where unknown.
    :param camera_pose: (B, N·K, 4, 4) world from camera, of that frame; NaN where unknown.
    :param valid: (B, N·K) bool; an invalid slot has no influence on anything.
    """

    embedding: Tensor
    reference: Tensor
    stamp: Tensor
    camera_pose: Tensor
    valid: Tensor

    @classmethod
    def empty(
        cls, batch: int, slots: int, width: int, device: torch.device | str = "cpu", dtype: torch.dtype | None = None
    ) -> QueryMemory:
        """A memory of ``slots`` = N·K invalid slots for each of ``batch`` samples."""
        return cls(
            embedding=torch.zeros(batch, slots, width, device=device, dtype=dtype),
            reference=torch.zeros(batch, slots, 3, device=device),
            stamp=torch.full((batch, slots), torch.nan, device=device, dtype=torch.float64),
            camera_pose=torch.full((batch, slots, 4, 4), torch.nan, device=device),
            valid=torch.zeros(batch, slots, dtype=torch.bool, device=device),
        )

    def reset(self, samples: Tensor) -> QueryMemory:
        """Forget everything of the samples where ``samples`` (B,) bool is true; the others keep their values."""
        if samples.shape != self.valid.shape[:1]:
            raise ValueError(f"samples has shape {tuple(samples.shape)}; the memory has batch {len(self.valid)}")
        return replace(self, valid=self.valid & ~samples.to(self.valid.device)[:, None])

    def push(self, newest: QueryMemory) -> QueryMemory:
        """Put the queries of one frame (B, K, …) in front; those of the oldest frame fall out (Eq. 5)."""
        slots, kept = self.valid.shape[1], self.valid.shape[1] - newest.valid.shape[1]
        if kept < 0:
            raise ValueError(f"{newest.valid.shape[1]} new queries do not fit into a memory of {slots} slots")
        return QueryMemory(
            *(torch.cat([getattr(newest, f.name), getattr(self, f.name)[:, :kept]], dim=1) for f in fields(self))
        )

    def newest(self, top_k: int) -> QueryMemory:
        """The ``top_k`` slots of the newest frame (Eq. 6)."""
        return QueryMemory(*(getattr(self, f.name)[:, :top_k] for f in fields(self)))

    def detach(self) -> QueryMemory:
        """The same values without a gradient history."""
        return QueryMemory(*(getattr(self, f.name).detach() for f in fields(self)))

    def to(self, device: torch.device | str) -> QueryMemory:
        return QueryMemory(*(getattr(self, f.name).to(device) for f in fields(self)))


@dataclass(frozen=True)
class MemoryView:
    """A memory as the current camera sees it.

    :param reference: (B, S, 3) metres in the current camera frame (moved where both poses are known).
    :param motion: (B, S, 13) current-from-past camera motion (R − I flattened, t in metres) and log(1 + elapsed
        seconds); zeros where unknown, which the pose-aware layer norm takes as "no motion, no time".
    """

    embedding: Tensor
    reference: Tensor
    motion: Tensor
    valid: Tensor


def view_from(memory: QueryMemory, camera_pose: Tensor, stamp: Tensor) -> MemoryView:
    """Move a memory into the frame of the current camera.

    :param camera_pose: (B, 4, 4) world from current camera; NaN where unknown.
    :param stamp: (B,) seconds; NaN where unknown.
    """
    known = memory.camera_pose.isfinite().all(-1).all(-1) & camera_pose.isfinite().all(-1).all(-1)[:, None]
    known = known & memory.valid
    identity = torch.eye(4, dtype=camera_pose.dtype, device=camera_pose.device)
    past = torch.where(known[..., None, None], memory.camera_pose, identity)
    now = torch.where(known[..., None, None], camera_pose[:, None], identity)
    # Inverse of a rigid transform, written out: exportable, and exact for a proper rotation.
    turned = now[..., :3, :3].transpose(-1, -2)
    rotation = exact_product(turned, past[..., :3, :3])
    translation = exact_product(turned, past[..., :3, 3:] - now[..., :3, 3:])[..., 0]
    reference = exact_product(rotation, memory.reference[..., None])[..., 0] + translation
    elapsed = (stamp[:, None] - memory.stamp).nan_to_num(0.0).clamp(0.0, 60.0).to(reference.dtype)
    elapsed = torch.where(memory.valid, elapsed, torch.zeros_like(elapsed))
    motion = torch.cat([(rotation - identity[:3, :3]).flatten(2), translation, elapsed.log1p()[..., None]], dim=-1)
    # Not only masked but blank: what a forgotten slot still holds can reach no result at all.
    valid = memory.valid[..., None]
    embedding = torch.where(valid, memory.embedding, torch.zeros_like(memory.embedding))
    reference = torch.where(valid, reference, torch.zeros_like(reference))
    return MemoryView(embedding, reference, motion, memory.valid)
