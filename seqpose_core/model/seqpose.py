# SPDX-License-Identifier: Apache-2.0
"""SeqPose: one step of the network, (frames, intrinsics, memory) -> (prediction, memory)."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seqpose_core.categories import CATEGORIES
from seqpose_core.model.config import SeqPoseConfig
from seqpose_core.model.denoising import DenoisingQueries
from seqpose_core.model.dense_heads import CentreHead, CentrePrediction, DenseHeads, DensePrediction
from seqpose_core.model.encoder import build_encoder
from seqpose_core.model.fusion import Fusion
from seqpose_core.model.memory import QueryMemory, view_from
from seqpose_core.model.pose_head import ObjectPrediction, PoseHead, reference_from_centre
from seqpose_core.model.stsq import CONDITION_WIDTH, ReferenceEncoding, StsqLayer


@dataclass(frozen=True)
class FrameFeatures:
    """What one image gives before any query looks at it.

    :param fused: z_i (B, C, H_i, W_i), finest first.
    """

    fused: list[Tensor]
    dense: DensePrediction | None
    centre: CentrePrediction | None

    def sample(self, index: slice | Tensor) -> FrameFeatures:
        """The features of some samples of the batch."""

        def pick(part):  # type: ignore[no-untyped-def]
            if part is None:
                return None
            return replace(part, **{k: None if v is None else v[index] for k, v in vars(part).items()})

        return FrameFeatures([z[index] for z in self.fused], pick(self.dense), pick(self.centre))


@dataclass(frozen=True)
class Prediction:
    """The result of one step.

    :param objects: of the last layer.
    :param layers: of every layer, first to last; the last one is ``objects``.
    :param valid: (B, Q) bool: false for a propagated query whose memory slot was empty.
    :param denoised: of every layer, what the D denoising queries became; empty without them.
    :param denoising: those queries, or None.
    """

    objects: ObjectPrediction
    layers: tuple[ObjectPrediction, ...]
    valid: Tensor
    dense: DensePrediction | None
    centre: CentrePrediction | None
    denoised: tuple[ObjectPrediction, ...] = ()
    denoising: DenoisingQueries | None = None


class SeqPose(nn.Module):
    """The whole trainable model. It keeps no state between calls: memory is passed in and returned.

    Single-frame operation is the same code with an empty memory.
    """

    pixel_mean: Tensor
    pixel_std: Tensor
    image_size: Tensor

    def __init__(self, config: SeqPoseConfig) -> None:
        super().__init__()
        self.config = config
        width, queries = config.decoder.width, config.queries
        self.encoder = build_encoder(config)
        self.fusion = Fusion(self.encoder.semantic_widths, self.encoder.geometry_widths, config.fusion_width)
        if config.dense.any:
            self.dense_heads = DenseHeads(config.dense, config.fusion_width, self.encoder.geometry_widths[0])
        levels = len(self.encoder.semantic_widths)
        self.reduce = nn.ModuleList(
            nn.Conv2d(config.fusion_width, width, 1) if config.fusion_width != width else nn.Identity()
            for _ in range(levels)
        )
        if queries.proposals:
            self.centre_head = CentreHead(config.fusion_width)
            self.proposal_class = nn.Embedding(len(CATEGORIES), width)
            self.proposal_norm = nn.LayerNorm(width)
        if queries.anchors:
            self.anchor_reference = nn.Parameter(_frustum_points(config))
            self.anchor_embedding = nn.Parameter(0.02 * torch.randn(queries.anchors, width))
        if queries.denoising:
            self.denoising_class = nn.Embedding(len(CATEGORIES), width)
        self.reference_encoding = ReferenceEncoding(width)
        self.layers = nn.ModuleList(StsqLayer(config.decoder, levels) for _ in range(config.decoder.layers))
        self.heads = nn.ModuleList(
            PoseHead(config.head, width, config.canonical_focal) for _ in range(config.decoder.layers)
        )
        self.register_buffer("pixel_mean", torch.tensor([0.485, 0.456, 0.406])[:, None, None], persistent=False)
        self.register_buffer("pixel_std", torch.tensor([0.229, 0.224, 0.225])[:, None, None], persistent=False)
        size = torch.tensor([config.image_width, config.image_height], dtype=torch.float32)
        self.register_buffer("image_size", size, persistent=False)

    def empty_memory(self, batch: int) -> QueryMemory:
        """The memory at the start of a stream (the paper's zeros, marked invalid)."""
        memory = self.config.memory
        return QueryMemory.empty(batch, memory.frames * memory.top_k, self.config.decoder.width, self.pixel_mean.device)

    def forward(
        self,
        images: Tensor,
        intrinsics: Tensor,
        memory: QueryMemory | None = None,
        camera_pose: Tensor | None = None,
        stamp: Tensor | None = None,
        dense: bool = True,
    ) -> tuple[Prediction, QueryMemory]:
        """One step.

        :param images: (B, 3, H, W) RGB in [0, 1], of the configured size.
        :param intrinsics: (B, 3, 3) in pixels of these images.
        :param memory: what the step before returned; None for the first frame.
        :param camera_pose: (B, 4, 4) world from camera; None, or NaN for a sample, where unknown.
        :param stamp: (B,) seconds; None, or NaN for a sample, where unknown.
        :param dense: whether to compute the dense maps, which only training looks at.
        :raises ValueError: if images or intrinsics are not of these shapes.
        """
        config = self.config
        if images.shape[1:] != (3, config.image_height, config.image_width):
            raise ValueError(
                f"images have shape {tuple(images.shape)}; this model takes "
                f"(B, 3, {config.image_height}, {config.image_width})"
            )
        if intrinsics.shape != (len(images), 3, 3):
            raise ValueError(f"intrinsics have shape {tuple(intrinsics.shape)}; expected ({len(images)}, 3, 3)")
        return self.decode(self.encode(images, intrinsics, dense), intrinsics, memory, camera_pose, stamp)

    def encode(self, images: Tensor, intrinsics: Tensor, dense: bool = True) -> FrameFeatures:
        """The part of a step that knows nothing of the past (Eq. 1 to 4); arguments as in :meth:`forward`."""
        semantic, geometry = self.encoder((images - self.pixel_mean) / self.pixel_std, intrinsics)
        fused = self.fusion(semantic, geometry)
        return FrameFeatures(
            fused=fused,
            dense=self.dense_heads(fused[0], geometry[0]) if dense and self.config.dense.any else None,
            centre=self.centre_head(fused[0]) if self.config.queries.proposals else None,
        )

    def decode(
        self,
        features: FrameFeatures,
        intrinsics: Tensor,
        memory: QueryMemory | None = None,
        camera_pose: Tensor | None = None,
        stamp: Tensor | None = None,
        denoising: DenoisingQueries | None = None,
    ) -> tuple[Prediction, QueryMemory]:
        """The query network (Eq. 5 to 9) on encoded frames; arguments as in :meth:`forward`.

        :param denoising: noised truth that asks as well, in training; neither the rest of the prediction nor the
            memory depends on it.
        :raises ValueError: for denoising queries where the configuration has none.
        """
        if denoising is not None and not self.config.queries.denoising:
            raise ValueError("denoising queries are given but queries.denoising is 0; set it to a number of groups")
        batch, device = len(intrinsics), intrinsics.device
        if memory is None:
            memory = self.empty_memory(batch)
        if camera_pose is None:
            camera_pose = torch.full((batch, 4, 4), torch.nan, device=device)
        if stamp is None:
            stamp = torch.full((batch,), torch.nan, device=device, dtype=torch.float64)

        fused = [reduce(z) for reduce, z in zip(self.reduce, features.fused, strict=True)]
        query, reference = self._current_queries(features, fused[0], intrinsics)
        past = view_from(memory, camera_pose, stamp)
        # Eq. 6: the newest frame's queries also ask, from where they are seen now.
        top_k = self.config.memory.top_k
        valid = torch.ones(query.shape[:2], dtype=torch.bool, device=device)
        valid = torch.cat([valid, past.valid[:, :top_k]], dim=1)
        query = torch.cat([query, past.embedding[:, :top_k].to(query.dtype)], dim=1)
        reference = torch.cat([reference, past.reference[:, :top_k]], dim=1)
        own = query.shape[1]
        exists, seen = valid, torch.cat([valid, past.valid], dim=1)
        if denoising is not None:
            query = torch.cat([query, self.denoising_class(denoising.classes).to(query.dtype)], dim=1)
            reference = torch.cat([reference, denoising.reference], dim=1)
            exists, seen = torch.cat([valid, denoising.present], dim=1), denoising.sight(valid, past.valid)

        focal = torch.stack([intrinsics[:, 0, 0], intrinsics[:, 1, 1]], dim=-1)
        focal = (focal / self.config.canonical_focal).log()[:, None]
        condition = F.pad(focal, (CONDITION_WIDTH - 2, 0)).expand(-1, query.shape[1], -1)
        past_condition = torch.cat([past.motion, focal.expand(-1, past.motion.shape[1], -1)], dim=-1)
        slots = (past.embedding, self.reference_encoding(past.reference), past_condition)

        layers: list[ObjectPrediction] = []
        for layer, head in zip(self.layers, self.heads, strict=True):
            position = self.reference_encoding(reference)
            query = layer(query, position, condition, slots, seen, reference, fused, intrinsics, self.image_size)
            layers.append(_silence(head(query, reference, intrinsics, self.image_size), exists))
            if self.config.decoder.refine:
                reference = layers[-1].translation.detach()

        denoised: tuple[ObjectPrediction, ...] = ()
        if denoising is not None:
            denoised = tuple(layer.queries(slice(own, None)) for layer in layers)
            layers, query = [layer.queries(slice(own)) for layer in layers], query[:, :own]
        prediction = Prediction(layers[-1], tuple(layers), valid, features.dense, features.centre, denoised, denoising)
        return prediction, self._remember(memory, query, prediction, camera_pose, stamp)

    def _current_queries(self, features: FrameFeatures, finest: Tensor, intrinsics: Tensor) -> tuple[Tensor, Tensor]:
        """Learned anchors and proposals: embeddings (B, Q, C) and references (B, Q, 3), metres."""
        batch = len(intrinsics)
        embeddings, references = [], []
        if self.config.queries.anchors:
            embeddings.append(self.anchor_embedding.expand(batch, -1, -1))
            references.append(self.anchor_reference.expand(batch, -1, -1))
        centre = features.centre
        if centre is not None:
            rows, columns = centre.heat.shape[2:]
            # Maxima over all classes at once: six proposals in one cell would crowd out other objects.
            heat, classes = centre.heat.detach().max(1)
            peaks = heat.masked_fill(F.max_pool2d(heat, 3, stride=1, padding=1) > heat, -1e4)
            cell = peaks.flatten(1).topk(self.config.queries.proposals, dim=1).indices
            offset = _take(centre.offset.detach().flatten(2).transpose(1, 2), cell)
            cells = torch.stack([cell % columns, cell.div(columns, rounding_mode="floor")], dim=-1)
            stride = self.image_size / self.image_size.new_tensor([columns, rows])
            pixels = (cells + 0.5 + offset) * stride - 0.5
            log_depth = centre.log_depth.detach().flatten(1).gather(1, cell)
            references.append(reference_from_centre(pixels, log_depth, intrinsics, self.config.canonical_focal))
            content = self.proposal_norm(_take(finest.flatten(2).transpose(1, 2), cell))
            embeddings.append(content + self.proposal_class(classes.flatten(1).gather(1, cell)))
        return torch.cat(embeddings, dim=1), torch.cat(references, dim=1)

    def _remember(
        self, memory: QueryMemory, query: Tensor, prediction: Prediction, camera_pose: Tensor, stamp: Tensor
    ) -> QueryMemory:
        """Eq. 5: the K most confident queries of this frame go in front of the memory."""
        if self.config.memory.frames == 0:
            return memory
        top_k = self.config.memory.top_k
        best = prediction.objects.logits.amax(-1).topk(top_k, dim=1).indices
        newest = QueryMemory(
            embedding=_take(query, best).float(),
            reference=_take(prediction.objects.translation.detach(), best),
            stamp=stamp.to(torch.float64)[:, None].expand(-1, top_k),
            camera_pose=camera_pose.to(memory.camera_pose.dtype)[:, None].expand(-1, top_k, -1, -1),
            valid=prediction.valid.gather(1, best),
        )
        return memory.push(newest)


def _take(x: Tensor, index: Tensor) -> Tensor:
    """Rows ``index`` (B, K) of x (B, Q, C): (B, K, C)."""
    return x.gather(1, index[..., None].expand(-1, -1, x.shape[-1]))


def _silence(objects: ObjectPrediction, valid: Tensor) -> ObjectPrediction:
    """Give queries that do not exist a score of zero."""
    return replace(objects, logits=objects.logits.masked_fill(~valid[..., None], -1e4))


def _frustum_points(config: SeqPoseConfig) -> Tensor:
    """Starting places of the learned anchors: (A, 3) metres, spread over what the canonical camera sees at
    0.3 to 2 m."""
    points = torch.rand(config.queries.anchors, 3)
    half = points.new_tensor([config.image_width, config.image_height]) / (2 * config.canonical_focal)
    depth = 0.3 * (2.0 / 0.3) ** points[:, 2:]
    return torch.cat([(points[:, :2] * 2 - 1) * half * depth, depth], dim=1)
