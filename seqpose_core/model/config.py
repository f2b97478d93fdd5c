# SPDX-License-Identifier: Apache-2.0
"""SeqPoseConfig: everything that decides the shape of a SeqPose network."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from seqpose_core import config_io

#: Mean focal length of the REAL275 camera over its image width: the canonical camera that depths refer to.
_CANONICAL_FOCAL_PER_WIDTH = 590.59 / 640.0


@dataclass(frozen=True)
class EncoderConfig:
    """Eq. 1 and 2: what turns an image into semantic features s_i and geometry features g_i.

    :param kind: ``dinov2`` = transformers' Dinov2 backbone and Depth Anything neck; ``conv_vit`` = a small ViT with
        a convolutional stem for training from scratch.
    :param width, depth, heads: of the ViT.
    :param neck_width: channels of every g_i.
    :param out_layers: the four ViT layers (1-based) that feed the neck, for ``dinov2``.
    :param reassemble_widths: channels of the four reassembled levels s_i, for ``dinov2``.
    :param frozen: whether the backbone is left untrained (the neck always trains).
    :param pretrained: folder in Depth Anything V2's transformers layout to initialise from; nothing is downloaded.
    """

    kind: Literal["dinov2", "conv_vit"] = "conv_vit"
    width: int = 192
    depth: int = 6
    heads: int = 3
    stem_width: int = 64
    neck_width: int = 64
    out_layers: tuple[int, int, int, int] = (3, 6, 9, 12)
    reassemble_widths: tuple[int, int, int, int] = (48, 96, 192, 384)
    frozen: bool = False
    pretrained: str | None = None


@dataclass(frozen=True)
class DenseConfig:
    """Eq. 4: which dense maps are predicted, and how much finer than z_0 they are."""

    segmentation: bool = True
    depth: bool = True
    normals: bool = True
    nocs: bool = True
    width: int = 64
    upscale: int = 2


@dataclass(frozen=True)
class QueryConfig:
    """Where the queries of the current frame come from.

    :param anchors: learned 3D anchors (the paper's way).
    :param proposals: maxima of a centre heat map, lifted to 3D by the centre's predicted depth.
    """

    anchors: int = 0
    proposals: int = 32

    def __post_init__(self) -> None:
        if self.anchors < 0 or self.proposals < 0 or self.anchors + self.proposals < 1:
            raise ValueError(
                f"anchors={self.anchors} and proposals={self.proposals}; at least one query is needed"
            )


@dataclass(frozen=True)
class DecoderConfig:
    """Eq. 7 and 8: the spatial-temporal sparse query network.

    :param offset_scale: reach of the learned 3D sampling offsets at initialisation, metres.
    :param refine: whether each layer starts from the references that the layer before predicted.
    """

    width: int = 128
    layers: int = 3
    heads: int = 4
    points: int = 4
    ffn_ratio: int = 2
    offset_scale: float = 0.08
    refine: bool = True


@dataclass(frozen=True)
class MemoryConfig:
    """Eq. 5 and 6: how many past frames are remembered and how many queries of each; 0 frames = single-frame."""

    frames: int = 3
    top_k: int = 8

    def __post_init__(self) -> None:
        if self.frames < 0 or self.top_k < 1:
            raise ValueError(f"memory of {self.frames} frames x {self.top_k} queries; needs frames >= 0, top_k >= 1")


@dataclass(frozen=True)
class HeadConfig:
    """Eq. 9: what the pose head regresses.

    :param translation: ``projected`` = centre in pixels and canonical log depth, joined by K⁻¹; ``direct`` = metres.
    :param rotation: ``allocentric`` = relative to the ray through the centre; ``egocentric`` = to the camera axes.
    """

    translation: Literal["projected", "direct"] = "projected"
    rotation: Literal["allocentric", "egocentric"] = "allocentric"


@dataclass(frozen=True)
class SeqPoseConfig:
    """A whole network. See config/model/*.yaml for the named ones.

    :param image_height, image_width: size of the images the network sees; a multiple of 14 each.
    """

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
        for name, value in (("image_height", self.image_height), ("image_width", self.image_width)):
            if value < 28 or value % 14:
                raise ValueError(f"{name} is {value}; it must be a multiple of 14, at least 28")
        if self.decoder.width % self.decoder.heads:
            raise ValueError(f"decoder.width {self.decoder.width} is not a multiple of heads {self.decoder.heads}")
        if self.encoder.width % self.encoder.heads:
            raise ValueError(f"encoder.width {self.encoder.width} is not a multiple of heads {self.encoder.heads}")

    @property
    def canonical_focal(self) -> float:
        """Focal length in pixels, at this image width, of the camera that canonical depths z·f0/f refer to."""
        return _CANONICAL_FOCAL_PER_WIDTH * self.image_width

    @classmethod
    def from_yaml(cls, path: str | Path) -> SeqPoseConfig:
        """:raises seqpose_core.config_io.ConfigError: for an unknown key or a bad value, naming it."""
        return config_io.load_yaml(cls, path)

    def to_yaml(self) -> str:
        return config_io.dump_yaml(self)
