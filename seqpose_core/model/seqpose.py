# SPDX-License-Identifier: Apache-2.0
"""SeqPose: one step of the network, (images, intrinsics, memory) -> (prediction, memory)."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seqpose_core.model.config import SeqPoseConfig
from seqpose_core.model.denoising import DenoisingQueries
from seqpose_core.model.dense_heads import CentreHead, CentrePrediction, DenseHeads
from seqpose_core.model.encoder import build_encoder, pixel_statistics
from seqpose_core.model.fusion import Fusion
from seqpose_core.model.guidance import geometry_map
from seqpose_core.model.layers import attention_bias
from seqpose_core.model.memory import FrameMotion, MemoryView, QueryMemory, TopQueries, view_from
from seqpose_core.model.pose_head import ObjectPrediction, PoseHead
from seqpose_core.model.prediction import FrameFeatures, Prediction, mask_invalid
from seqpose_core.model.projection import Pinhole
from seqpose_core.model.proposals import select_proposals
from seqpose_core.model.selection import gather_queries, top_k_indices
from seqpose_core.model.stsq import (
    CONDITION_WIDTH,
    ImageFeatures,
    QueryTokens,
    ReferenceEncoding,
    StsqLayer,
    value_projections,
)


class SeqPose(nn.Module):
    """The complete network. It keeps no state between calls: the memory is passed in and returned.

    Single-frame operation is the same code with an empty memory.
    """

    pixel_mean: Tensor
    pixel_std: Tensor
    image_size: Tensor

    def __init__(self, config: SeqPoseConfig) -> None:
        super().__init__()
        self.config = config
        width, queries, categories = config.decoder.width, config.queries, len(config.categories)
        self.encoder = build_encoder(config)
        self.fusion = Fusion(self.encoder.semantic_widths, self.encoder.geometry_widths, config.fusion_width)
        if config.dense.any:
            self.dense_heads = DenseHeads(
                config.dense, config.fusion_width, self.encoder.geometry_widths[0], categories
            )
        levels = len(self.encoder.semantic_widths)
        finest = config.decoder.finest_level
        self.reduce = nn.ModuleList(
            nn.Conv2d(config.fusion_width, width, 1)
            if config.fusion_width != width and (level >= finest or (level == 0 and queries.proposals))
            else nn.Identity()
            for level in range(levels)
        )
        if queries.proposals:
            self.centre_head = CentreHead(config.fusion_width, categories)
            self.proposal_class = nn.Embedding(categories, width)
            self.proposal_norm = nn.LayerNorm(width)
        if queries.anchors:
            self.anchor_reference = nn.Parameter(_frustum_points(config))
            self.anchor_embedding = nn.Parameter(0.02 * torch.randn(queries.anchors, width))
        if queries.denoising:
            self.denoising_class = nn.Embedding(categories, width)
        self.reference_encoding = ReferenceEncoding(width)
        if config.decoder.shared_values:
            self.values = value_projections(width, levels - finest)
        self.layers = nn.ModuleList(StsqLayer(config.decoder, levels - finest) for _ in range(config.decoder.layers))
        sizes = np.array([c.typical_size for c in config.categories])
        self.heads = nn.ModuleList(
            PoseHead(config.head, width, config.canonical_focal, sizes) for _ in range(config.decoder.layers)
        )
        if config.decoder.position_in_head:
            self.head_positions = nn.ModuleList(_zero_linear(width) for _ in range(config.decoder.layers))
        mean, std = pixel_statistics(config.encoder.kind)
        self.register_buffer("pixel_mean", torch.tensor(mean)[:, None, None], persistent=False)
        self.register_buffer("pixel_std", torch.tensor(std)[:, None, None], persistent=False)
        size = torch.tensor([config.image_width, config.image_height], dtype=torch.float32)
        self.register_buffer("image_size", size, persistent=False)

    def empty_memory(self, batch: int) -> QueryMemory:
        """The memory at the start of a stream (zeros in the paper; here all slots are invalid as well)."""
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
        :param memory: returned by the previous step; None for the first frame.
        :param camera_pose: (B, 4, 4) world from camera; None, or NaN for a sample, where unknown.
        :param stamp: (B,) seconds; None, or NaN for a sample, where unknown.
        :param dense: whether to compute the dense maps, which only training and a guided decoder use; the latter
            computes them in any case.
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
        """The part of a step that is independent of the memory (Eq. 1 to 4); arguments as in :meth:`forward`."""
        semantic, geometry = self.encoder((images - self.pixel_mean) / self.pixel_std, intrinsics)
        fused = self.fusion(semantic, geometry)
        dense = dense or self.config.decoder.guided
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

        Camera poses and stamps end here: the network itself takes relative motion, see :meth:`decode_queries`.

        :param denoising: noised ground-truth queries that are appended in training; neither the rest of the prediction
            nor the memory depends on them.
        :raises ValueError: for denoising queries if the configuration has none.
        """
        if denoising is not None and not self.config.queries.denoising:
            raise ValueError("denoising queries are given but queries.denoising is 0; set it to a number of groups")
        if memory is None:
            memory = self.empty_memory(len(intrinsics))
        frame = FrameMotion.from_optional(camera_pose, stamp, memory)
        prediction, newest = self.decode_queries(
            features, Pinhole(intrinsics, self.image_size), view_from(memory, frame), denoising
        )
        return prediction, memory.push(newest, frame)

    def decode_queries(
        self,
        features: FrameFeatures,
        pinhole: Pinhole,
        past: MemoryView,
        denoising: DenoisingQueries | None = None,
        auxiliary: bool = True,
    ) -> tuple[Prediction, TopQueries]:
        """The query network as a pure function of finite float32 tensors and masks.

        :param auxiliary: whether to predict all objects of the layers before the last, which only training uses.
        """
        levels = [reduce(z) for reduce, z in zip(self.reduce, features.fused, strict=True)]
        query, reference, valid = self._current_queries(features.centre, levels[0], pinhole)
        # Eq. 6: the queries of the newest frame in memory are appended, at their positions in the current frame.
        top_k = self.config.memory.top_k
        valid = torch.cat([valid, past.valid[:, :top_k]], dim=1)
        query = torch.cat([query, past.embedding[:, :top_k].to(query.dtype)], dim=1)
        reference = torch.cat([reference, past.reference[:, :top_k]], dim=1)
        if denoising is not None:
            query = torch.cat([query, self.denoising_class(denoising.classes).to(query.dtype)], dim=1)
            reference = torch.cat([reference, denoising.reference], dim=1)

        log_focal = (pinhole.focal / self.config.canonical_focal).log()[:, None]
        condition = F.pad(log_focal, (CONDITION_WIDTH - 2, 0))
        motion = past.frame_motion(top_k)
        past_condition = torch.cat([motion, log_focal.expand(-1, motion.shape[1], -1)], dim=-1)
        memory = QueryTokens(past.embedding, self.reference_encoding(past.reference), past_condition)
        sampled = levels[self.config.decoder.finest_level :]
        levels = [z.contiguous(memory_format=torch.channels_last) for z in sampled]
        if self.config.decoder.shared_values:
            levels = [project(z) for project, z in zip(self.values, levels, strict=True)]
        geometry = None
        if self.config.decoder.guided and features.dense is not None:
            geometry = geometry_map(features.dense, pinhole, self.config.canonical_focal)
        image_features = ImageFeatures(levels, pinhole, geometry)

        layers: list[ObjectPrediction] = []
        layer_valid: list[Tensor] = []
        position, bias = self.reference_encoding(reference), self._attention_bias(valid, past.valid, denoising)
        kept_queries = (*self.config.decoder.kept_queries, *[query.shape[1]] * len(self.layers))
        for number, (layer, head, kept) in enumerate(zip(self.layers, self.heads, kept_queries, strict=False), start=1):
            assert isinstance(head, PoseHead)
            query = layer(QueryTokens(query, position, condition), memory, bias, reference, image_features)
            read = query  # what the head reads
            if self.config.decoder.position_in_head:
                read = query + self.head_positions[number - 1](position)
            last, prunes = number == len(self.layers), kept < valid.shape[1]
            objects: ObjectPrediction | None = None
            if auxiliary or last or prunes:
                decoded = valid if denoising is None else torch.cat([valid, denoising.present], dim=1)
                objects = mask_invalid(head(read, reference, pinhole), decoded)
            if objects is not None and (auxiliary or last):
                layers.append(objects)
                layer_valid.append(valid)
            if last:
                break
            if self.config.decoder.refine:
                centre = objects.translation if objects else head.translation(read, reference, pinhole)
                reference = centre.detach()
            if objects is not None and prunes:
                best = top_k_indices(objects.logits.detach()[:, : valid.shape[1]].amax(-1), kept)
                query, reference = (_keep(x, best, valid.shape[1]) for x in (query, reference))
                valid = valid.gather(1, best)
                bias = self._attention_bias(valid, past.valid, denoising)
            position = self.reference_encoding(reference)

        denoised: tuple[ObjectPrediction, ...] = ()
        if denoising is not None:
            counts = [v.shape[1] for v in layer_valid]
            denoised = tuple(layer.select(slice(n, None)) for layer, n in zip(layers, counts, strict=True))
            layers = [layer.select(slice(n)) for layer, n in zip(layers, counts, strict=True)]
            query = query[:, : valid.shape[1]]
        prediction = Prediction(
            layers[-1], tuple(layers), tuple(layer_valid), features.dense, features.centre, denoised, denoising
        )
        return prediction, self._top_queries(query, prediction)

    @staticmethod
    def _attention_bias(valid: Tensor, past_valid: Tensor, denoising: DenoisingQueries | None) -> Tensor:
        """The bias of the temporal attention for queries ``valid`` (B, Q) and slots ``past_valid`` (B, S)."""
        if denoising is not None:
            return attention_bias(denoising.attention_mask(valid, past_valid))
        return attention_bias(torch.cat([valid, past_valid], dim=1))

    def _current_queries(
        self, centre: CentrePrediction | None, finest: Tensor, pinhole: Pinhole
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Learned anchors and proposals: embeddings (B, Q, C), references (B, Q, 3) in metres, validity (B, Q)."""
        config, batch = self.config.queries, finest.shape[0]  # len() is a constant in exported graphs
        embeddings, references, valid = [], [], []
        if config.anchors:
            embeddings.append(self.anchor_embedding.expand(batch, -1, -1))
            references.append(self.anchor_reference.expand(batch, -1, -1))
            valid.append(torch.ones(batch, config.anchors, dtype=torch.bool, device=finest.device))
        if centre is not None:
            proposals = select_proposals(centre, config.proposals, pinhole, self.config.canonical_focal)
            content = self.proposal_norm(gather_queries(finest.flatten(2).transpose(1, 2), proposals.cell))
            embeddings.append(content + self.proposal_class(proposals.category))
            references.append(proposals.reference)
            valid.append(proposals.valid)
        return torch.cat(embeddings, dim=1), torch.cat(references, dim=1), torch.cat(valid, dim=1)

    def _top_queries(self, query: Tensor, prediction: Prediction) -> TopQueries:
        """Eq. 5: the K valid queries with the highest score, for the memory; none without a memory.

        Slots without a valid query are zero.
        """
        memory, objects = self.config.memory, prediction.objects
        # Logits of invalid queries are -1e4, see mask_invalid.
        best = top_k_indices(objects.logits.amax(-1), memory.top_k if memory.frames else 0)
        valid = prediction.valid.gather(1, best)
        return TopQueries(
            embedding=torch.where(valid[..., None], gather_queries(query, best).float(), 0.0),
            reference=torch.where(valid[..., None], gather_queries(objects.translation.detach(), best), 0.0),
            valid=valid,
        )


def _keep(x: Tensor, best: Tensor, count: int) -> Tensor:
    """Rows ``best`` (B, K) of the first ``count`` rows of x (B, Q, C), then the rows after them."""
    kept = gather_queries(x[:, :count], best)
    return kept if count == x.shape[1] else torch.cat([kept, x[:, count:]], dim=1)


def _zero_linear(width: int) -> nn.Linear:
    """A linear layer without bias that returns zero until it is trained."""
    layer = nn.Linear(width, width, bias=False)
    nn.init.zeros_(layer.weight)
    return layer


def _frustum_points(config: SeqPoseConfig) -> Tensor:
    """Initial reference points of the learned anchors: (A, 3) metres, random in the view of the canonical camera at
    depths of 0.3 to 2 m."""
    points = torch.rand(config.queries.anchors, 3)
    half = points.new_tensor([config.image_width, config.image_height]) / (2 * config.canonical_focal)
    depth = 0.3 * (2.0 / 0.3) ** points[:, 2:]
    return torch.cat([(points[:, :2] * 2 - 1) * half * depth, depth], dim=1)
