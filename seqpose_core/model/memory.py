# SPDX-License-Identifier: Apache-2.0
"""Eq. 5 and 6: the sparse query memory, an immutable value that is passed into a step and returned by it."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from seqpose_core.model.projection import matmul_fp32

#: Elapsed seconds are clamped to this, the longest gap that the network distinguishes.
_LONGEST_GAP = 60.0


@dataclass(frozen=True)
class FrameMotion:
    """Camera pose and time of the current frame of B streams. Where a mask is false the value has no meaning.

    :param camera_pose: (B, 4, 4) float64 world from camera, the identity where unknown.
    :param pose_known: (B,) bool.
    :param stamp: (B,) float64 seconds, 0 where unknown.
    :param stamp_known: (B,) bool.
    """

    camera_pose: Tensor
    pose_known: Tensor
    stamp: Tensor
    stamp_known: Tensor

    @classmethod
    def from_optional(cls, camera_pose: Tensor | None, stamp: Tensor | None, like: QueryMemory) -> FrameMotion:
        """Replace unknown values by masks; device and batch are those of ``like``.

        :param camera_pose: (B, 4, 4); None, or not finite for a sample, where unknown.
        :param stamp: (B,) seconds; None, or not finite for a sample, where unknown.
        """
        batch, device = len(like.valid), like.valid.device
        identity = torch.eye(4, dtype=torch.float64, device=device)
        unknown = torch.zeros(batch, dtype=torch.bool, device=device)
        if camera_pose is None:
            camera_pose, pose_known = identity.expand(batch, 4, 4), unknown
        else:
            pose_known = camera_pose.isfinite().flatten(1).all(1)
            camera_pose = torch.where(pose_known[:, None, None], camera_pose.to(identity.dtype), identity)
        if stamp is None:
            stamp, stamp_known = torch.zeros(batch, dtype=torch.float64, device=device), unknown
        else:
            stamp_known = stamp.isfinite()
            stamp = torch.where(stamp_known, stamp.to(torch.float64), 0.0)
        return cls(camera_pose, pose_known, stamp, stamp_known)


@dataclass(frozen=True)
class TopQueries:
    """The K queries of one frame with the highest score (Eq. 5). Invalid ones are zero.

    :param embedding: (B, K, C).
    :param reference: (B, K, 3) predicted centres in that frame's camera frame, metres.
    :param valid: (B, K) bool.
    """

    embedding: Tensor
    reference: Tensor
    valid: Tensor


@dataclass(frozen=True)
class QueryMemory:
    """The top K queries of each of the last N frames, newest frame first; slot n·K + k is query k of frame n.

    It is independent of network and stream: one network can serve many cameras, and the samples of a batch can have
    different histories. Gradients flow through ``embedding`` unless it was detached.

    :param embedding: (B, N·K, C).
    :param reference: (B, N·K, 3) metres, in the camera frame of the query's own frame.
    :param stamp: (B, N·K) float64 seconds of that frame; 0 where ``stamp_known`` is false.
    :param stamp_known: (B, N·K) bool.
    :param camera_pose: (B, N·K, 4, 4) float64 world from camera of that frame; the identity where ``pose_known`` is
        false. In float32 the translation of a camera 10 km from the origin has steps of 1 mm.
    :param pose_known: (B, N·K) bool.
    :param valid: (B, N·K) bool; an invalid slot affects no result.
    """

    embedding: Tensor
    reference: Tensor
    stamp: Tensor
    stamp_known: Tensor
    camera_pose: Tensor
    pose_known: Tensor
    valid: Tensor

    @classmethod
    def empty(
        cls, batch: int, slots: int, width: int, device: torch.device | str = "cpu", dtype: torch.dtype | None = None
    ) -> QueryMemory:
        """A memory of ``slots`` = N·K invalid slots for each of ``batch`` samples."""
        invalid = torch.zeros(batch, slots, dtype=torch.bool, device=device)
        return cls(
            embedding=torch.zeros(batch, slots, width, device=device, dtype=dtype),
            reference=torch.zeros(batch, slots, 3, device=device),
            stamp=torch.zeros(batch, slots, device=device, dtype=torch.float64),
            stamp_known=invalid,
            camera_pose=torch.eye(4, device=device, dtype=torch.float64).repeat(batch, slots, 1, 1),
            pose_known=invalid,
            valid=invalid,
        )

    def reset(self, samples: Tensor) -> QueryMemory:
        """Invalidate all slots of the samples where ``samples`` (B,) bool is true; other samples do not change."""
        if samples.shape != self.valid.shape[:1]:
            raise ValueError(f"samples has shape {tuple(samples.shape)}; the memory has batch {len(self.valid)}")
        return replace(self, valid=self.valid & ~samples.to(self.valid.device)[:, None])

    def push(self, newest: TopQueries, frame: FrameMotion) -> QueryMemory:
        """Insert the top queries of a frame in front and drop those of the oldest frame (Eq. 5)."""
        top_k, slots = newest.valid.shape[1], self.valid.shape[1]
        if top_k > slots:
            raise ValueError(f"{top_k} new queries do not fit into a memory of {slots} slots")
        rows = {
            **vars(newest),
            "stamp": frame.stamp[:, None].expand(-1, top_k),
            "stamp_known": frame.stamp_known[:, None].expand(-1, top_k),
            "camera_pose": frame.camera_pose[:, None].expand(-1, top_k, -1, -1),
            "pose_known": frame.pose_known[:, None].expand(-1, top_k),
        }
        kept = slots - top_k
        return QueryMemory(**{name: torch.cat([row, getattr(self, name)[:, :kept]], 1) for name, row in rows.items()})

    def detach(self) -> QueryMemory:
        """The same values without a gradient history."""
        return QueryMemory(*(getattr(self, f.name).detach() for f in fields(self)))

    def to(self, device: torch.device | str) -> QueryMemory:
        return QueryMemory(*(getattr(self, f.name).to(device) for f in fields(self)))


@dataclass(frozen=True)
class RelativeMotion:
    """Camera motion and time between the frame of each memory slot and the current frame, float32.

    :param motion: (B, S, 3, 4) current-from-past [R | t], t in metres; [I | 0] where ``known`` is false.
    :param elapsed: (B, S) seconds; 0 where unknown.
    :param known: (B, S) bool: whether both camera poses are known.
    """

    motion: Tensor
    elapsed: Tensor
    known: Tensor


def relative_motion(memory: QueryMemory, frame: FrameMotion) -> RelativeMotion:
    """Motion from the frames in memory to the current one: float64 poses and stamps in, float32 out."""
    known = memory.pose_known & frame.pose_known[:, None] & memory.valid
    identity = torch.eye(4, dtype=torch.float64, device=known.device)
    past = torch.where(known[..., None, None], memory.camera_pose, identity)
    now = torch.where(known[..., None, None], frame.camera_pose[:, None], identity)
    # The inverse of a rigid transform, written out: it is exact for a proper rotation.
    inverse = now[..., :3, :3].transpose(-1, -2)
    offset = torch.cat([past[..., :3, :3], past[..., :3, 3:] - now[..., :3, 3:]], dim=-1)
    elapsed = (frame.stamp[:, None] - memory.stamp).clamp(0.0, _LONGEST_GAP)
    elapsed = torch.where(memory.stamp_known & frame.stamp_known[:, None] & memory.valid, elapsed, 0.0)
    return RelativeMotion(matmul_fp32(inverse, offset).float(), elapsed.float(), known)


@dataclass(frozen=True)
class MemoryView:
    """A memory relative to the current frame: the network's input. Invalid slots are zero.

    :param embedding: (B, S, C).
    :param reference: (B, S, 3) metres in the current camera frame, moved where both poses are known.
    :param motion: (B, S, 13) current-from-past camera motion (R − I flattened, t in metres) and log(1 + elapsed
        seconds). Unknown motion or time is zero, as if the camera had not moved or no time had passed.
    :param valid: (B, S) bool.
    """

    embedding: Tensor
    reference: Tensor
    motion: Tensor
    valid: Tensor

    def frame_motion(self, top_k: int) -> Tensor:
        """``motion`` of each frame, (B, N, 13) for slots n·K + k; 0 for a frame without a valid slot."""
        # The valid slots of a frame have equal motion, and that of the others is zero or has no effect.
        frames = self.motion.unflatten(1, (self.motion.shape[1] // top_k, top_k))
        valid = self.valid.unflatten(1, (self.valid.shape[1] // top_k, top_k))[..., None]
        return torch.where(valid.any(2), frames.masked_fill(~valid, -1e4).amax(2), 0.0)


def view_slots(embedding: Tensor, reference: Tensor, valid: Tensor, relative: RelativeMotion) -> MemoryView:
    """Express the slots of a memory in the current camera frame.

    :param embedding, reference, valid: as in :class:`QueryMemory`.
    """
    # The content of invalid slots is zeroed as well as masked, so that no value of it (NaN included) can spread.
    reference = torch.where(valid[..., None], reference, 0.0)
    rotation, translation = relative.motion[..., :3], relative.motion[..., 3:]
    moved = matmul_fp32(rotation, reference[..., None]) + translation
    known = (relative.known & valid)[..., None]
    identity = torch.eye(3, device=rotation.device)
    motion = torch.where(known, torch.cat([(rotation - identity).flatten(2), translation.flatten(2)], dim=-1), 0.0)
    elapsed = torch.where(valid, relative.elapsed, 0.0)
    return MemoryView(
        embedding=torch.where(valid[..., None], embedding, 0.0),
        reference=torch.where(known, moved[..., 0], reference),
        motion=torch.cat([motion, elapsed.log1p()[..., None]], dim=-1),
        valid=valid,
    )


def view_from(memory: QueryMemory, frame: FrameMotion) -> MemoryView:
    """Express a memory relative to the current frame: float64 poses and stamps in, float32 motion out."""
    return view_slots(memory.embedding, memory.reference, memory.valid, relative_motion(memory, frame))
