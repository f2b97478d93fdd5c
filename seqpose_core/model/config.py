# SPDX-License-Identifier: Apache-2.0
"""SeqPoseConfig: the architecture of a SeqPose network."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from seqpose_core import config_io
from seqpose_core.categories import CATEGORIES, Category, check_categories
from seqpose_core.model.encoder_config import EncoderConfig

#: Mean focal length of the REAL275 camera divided by its image width: the canonical camera of canonical depths.
_CANONICAL_FOCAL_PER_WIDTH = 590.59 / 640.0


def check_at_least(minimum: float, **numbers: float) -> None:
    """:raises ValueError: naming the first number below ``minimum``, NaN included."""
    for name, number in numbers.items():
        if not number >= minimum:
            raise ValueError(f"{name} is {number}; it must be at least {minimum}")


@dataclass(frozen=True)
class DenseConfig:
    """Eq. 4: which dense maps are predicted, and their resolution relative to z_0."""

    segmentation: bool = True
    depth: bool = True
    normals: bool = True
    nocs: bool = True
    width: int = 64
    upscale: int = 2

    def __post_init__(self) -> None:
        check_at_least(1, width=self.width, upscale=self.upscale)

    @property
    def any(self) -> bool:
        """Whether there is at least one dense head."""
        return self.segmentation or self.depth or self.normals or self.nocs


@dataclass(frozen=True)
class QueryConfig:
    """The queries of the current frame.

    :param anchors: number of learned 3D anchors (as in the paper).
    :param proposals: number of maxima of a centre heat map, lifted to 3D by the predicted depth of the centre; at
        most the number of cells of the finest feature map.
    :param denoising: groups of denoising queries in training (see seqpose_core.model.denoising); 0 = none.
    """

    anchors: int = 0
    proposals: int = 32
    denoising: int = 0

    def __post_init__(self) -> None:
        if self.denoising < 0:
            raise ValueError(f"denoising={self.denoising}; it must be 0 or a number of groups")
        if self.anchors < 0 or self.proposals < 0 or self.anchors + self.proposals < 1:
            raise ValueError(f"anchors={self.anchors} and proposals={self.proposals}; at least one query is needed")


@dataclass(frozen=True)
class DecoderConfig:
    """Eq. 7 and 8: the spatial-temporal sparse query network.

    :param width: channels of the queries, a multiple of ``heads``.
    :param points: 3D points that each head samples around a reference, in every level.
    :param offset_scale: range of the learned 3D sampling offsets at initialisation, metres.
    :param refine: whether the predicted centres of a layer are the references of the next.
    :param kept_queries: after the first, second, ... layer, only this number of queries, those with the highest score,
        is decoded further; empty = all of them in all layers.
    :param shared_values: whether all layers sample the same projection of z_i, instead of one each.
    :param finest_level: the finest level that is sampled; 0 = z_0, 1 leaves it out.
    :param position_in_head: whether the head also takes the encoding of the reference point that it corrects.
    :param dropout: of the outputs of attention and feed-forward networks in training, before they are added.
    :param guided: whether estimated depth and normals change the attention weights of Eq. 8 (see
        seqpose_core.model.guidance); needs the heads for both.
    """

    width: int = 128
    layers: int = 3
    heads: int = 4
    points: int = 4
    ffn_ratio: int = 2
    offset_scale: float = 0.08
    refine: bool = True
    kept_queries: tuple[int, ...] = ()
    shared_values: bool = False
    finest_level: int = 0
    position_in_head: bool = False
    dropout: float = 0.0
    guided: bool = False

    def __post_init__(self) -> None:
        check_at_least(1, layers=self.layers, heads=self.heads, points=self.points, ffn_ratio=self.ffn_ratio)
        check_at_least(2, width=self.width)  # some layers use half of it
        check_at_least(0, offset_scale=self.offset_scale)
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout is {self.dropout}; it must lie in 0..1, below 1")
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is not a multiple of heads {self.heads}")
        kept = list(self.kept_queries)
        if len(kept) >= self.layers or kept != sorted(kept, reverse=True) or min(kept, default=1) < 1:
            raise ValueError(
                f"kept_queries is {kept}; it must be at most {self.layers - 1} positive numbers for {self.layers} "
                "layers, in descending order"
            )
        if not 0 <= self.finest_level <= 3:
            raise ValueError(f"finest_level is {self.finest_level}; it must be one of the levels 0 to 3")


@dataclass(frozen=True)
class MemoryConfig:
    """Eq. 5 and 6: number of past frames in the memory and of queries per frame; 0 frames = single-frame."""

    frames: int = 3
    top_k: int = 8

    def __post_init__(self) -> None:
        if self.frames < 0 or self.top_k < 1:
            raise ValueError(f"memory of {self.frames} frames x {self.top_k} queries; needs frames >= 0, top_k >= 1")


@dataclass(frozen=True)
class HeadConfig:
    """Eq. 9: parametrisation of the pose head.

    :param translation: ``projected`` = centre in pixels and canonical log depth, joined by K⁻¹; ``direct`` = metres.
    :param rotation: ``egocentric`` = relative to the camera axes; ``allocentric`` = to the ray through the centre.
    :param per_category: whether rotation and size are regressed separately for each category.
    :param rotation_modes: number of rotation hypotheses per query, of which the one with the most
        probability in and near it is reported; 1 = plain regression, whose yaw tends to the mean where several are
        plausible.
    """

    translation: Literal["projected", "direct"] = "projected"
    rotation: Literal["egocentric", "allocentric"] = "egocentric"
    per_category: bool = False
    rotation_modes: int = 1

    def __post_init__(self) -> None:
        check_at_least(1, rotation_modes=self.rotation_modes)
        if self.per_category and self.rotation_modes > 1:
            raise ValueError(f"rotation_modes is {self.rotation_modes}; it must be 1 where per_category is true")


@dataclass(frozen=True)
class SeqPoseConfig:
    """A complete network. Named configurations are in config/model/*.yaml.

    :param categories: what the model detects, with ids 1, 2, 3, ... in this order; the default is the six of NOCS.
    :param image_height, image_width: size of the network's input, each a multiple of encoder.patch_size.
    """

    categories: tuple[Category, ...] = CATEGORIES
    image_height: int = 168
    image_width: int = 224
    fusion_width: int = 128
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    dense: DenseConfig = field(default_factory=DenseConfig)
    queries: QueryConfig = field(default_factory=QueryConfig)
    decoder: DecoderConfig = field(default_factory=DecoderConfig)
    memory: MemoryConfig = field(default_factory=MemoryConfig)
    head: HeadConfig = field(default_factory=HeadConfig)

    def __post_init__(self) -> None:
        check_categories(self.categories)
        patch = self.encoder.patch_size
        for name, value in (("image_height", self.image_height), ("image_width", self.image_width)):
            if value < 2 * patch or value % patch:
                raise ValueError(f"{name} is {value}; it must be a multiple of {patch}, at least {2 * patch}")
        check_at_least(1, fusion_width=self.fusion_width)
        if self.decoder.guided and not (self.dense.depth and self.dense.normals):
            raise ValueError("decoder.guided is true, but there is no head for depth and normals; enable both in dense")
        kept = self.decoder.kept_queries
        if kept and self.memory.frames and kept[-1] < self.memory.top_k:
            raise ValueError(
                f"decoder.kept_queries ends at {kept[-1]}; it must be at least memory.top_k, which is "
                f"{self.memory.top_k}"
            )
        cells = self.encoder.finest_cells
        rows, columns = self.image_height // patch * cells, self.image_width // patch * cells
        if self.queries.proposals > rows * columns:
            raise ValueError(
                f"queries.proposals is {self.queries.proposals}; the finest map has {rows} x {columns} cells, so "
                f"{rows * columns} at most"
            )

    @property
    def canonical_focal(self) -> float:
        """Focal length f0 of canonical depths z·f0/f, in pixels at this image width."""
        return _CANONICAL_FOCAL_PER_WIDTH * self.image_width

    @classmethod
    def from_yaml(cls, path: str | Path) -> SeqPoseConfig:
        """:raises seqpose_core.config_io.ConfigError: for an unknown key or a bad value, naming it."""
        return config_io.load_yaml(cls, path)

    def to_yaml(self) -> str:
        return config_io.dump_yaml(self)
