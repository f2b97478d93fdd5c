# SPDX-License-Identifier: Apache-2.0
"""EncoderConfig: kind and size of the image encoder (Eq. 1 and 2)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

#: Vision transformers with published weights: DINOv2, EVA-02, and MAE, which ViTDet starts from.
_VITS: dict[str, dict[str, Any]] = {
    "small": {"width": 384, "depth": 12, "heads": 6},
    "base": {"width": 768, "depth": 12, "heads": 12},
    "large": {"width": 1024, "depth": 24, "heads": 16},
}
#: The neck of Depth Anything V2 for each of them.
_NECKS: dict[str, dict[str, Any]] = {
    "small": {"neck_width": 64, "out_layers": (3, 6, 9, 12), "reassemble_widths": (48, 96, 192, 384)},
    "base": {"neck_width": 128, "out_layers": (3, 6, 9, 12), "reassemble_widths": (96, 192, 384, 768)},
    "large": {"neck_width": 256, "out_layers": (5, 12, 18, 24), "reassemble_widths": (256, 512, 1024, 1024)},
}
#: The feature pyramid of ViTDet and EVA-02, for all sizes.
_PYRAMID = {"neck_width": 256}
_CONV_VIT = {"width": 192, "depth": 6, "heads": 3, "neck_width": 64}
_LITE = ("lite0", "lite1", "lite2")
_NEEDED = {
    "dinov2": ("width", "depth", "heads", "neck_width", "out_layers", "reassemble_widths"),
    "dinov2_registers": ("width", "depth", "heads", "neck_width", "out_layers", "reassemble_widths"),
    "eva02": ("width", "depth", "heads", "neck_width"),
    "vitdet": ("width", "depth", "heads", "neck_width"),
}
#: Kinds without a depth decoder, with ViTDet's pyramid instead.
_PYRAMID_KINDS = ("eva02", "vitdet")
_PATCH_SIZES = {
    "conv_vit": (14,),
    "dinov2": (14,),
    "dinov2_registers": (14,),
    "efficientnet_lite": (32,),
    "eva02": (14,),
    "vitdet": (14, 16),
}
_PRETRAIN_IMAGE_SIZES = {"dinov2": 518, "dinov2_registers": 518, "vitdet": 224}


@dataclass(frozen=True)
class EncoderConfig:
    """Eq. 1 and 2: the encoder of an image into semantic features s_i and geometry features g_i.

    The size is given by name or by dimensions. Dimensions left at 0 (or empty) are those of the named size (for
    ``conv_vit``: width 192, depth 6, 3 heads, neck width 64), see :meth:`resolved`; a contradiction is an error.

    :param kind: ``dinov2`` = DINOv2 and the neck of Depth Anything V2; ``dinov2_registers`` = the same with the DINOv2
        that has four register tokens; ``vitdet`` = ViTDet with its simple feature pyramid (all three from
        transformers); ``eva02`` = EVA-02 with the same pyramid; ``efficientnet_lite`` = EfficientNet-Lite with a small
        fusing neck; ``conv_vit`` = a small ViT with a convolutional stem for training from scratch.
    :param size: ``small``, ``base`` or ``large``, the published sizes; ``lite0``, ``lite1`` or ``lite2`` for
        ``efficientnet_lite``; None for ``conv_vit`` and for other dimensions.
    :param width, depth, heads: of the ViT.
    :param stem_width: of the convolutional stem, for ``conv_vit``.
    :param neck_width: channels of every g_i (``vitdet``, ``eva02``: of every s_i).
    :param out_layers: the four ViT layers (1-based) that feed the neck, for DINOv2; the last one is the ViT's last.
    :param reassemble_widths: channels of the four reassembled levels s_i, for DINOv2.
    :param patch_size: pixels; images must be a multiple of it. 14, for ``vitdet`` 14 or 16, for ``efficientnet_lite``
        32, the coarsest stride.
    :param pretrain_image_size: side in pixels of the square images of the pretraining, which determines the number of
        rows of the position embedding. It is resampled to the size of the images at each step. 0 = 518 (DINOv2) or 224
        (ViTDet). ``eva02`` has none: its position embedding is resampled once, when weights are read.
    :param depth_decoder: false = no Eq. 2 and no g_i, and Eq. 3 and 4 use s_i only: the rows "EVAViT encoder" and
        "DINOv2 encoder" of Table 2, "without introducing the Depth decoder". The paper does not define the levels of
        these rows; here s_i are those of the full model at their own strides (3.5, 7, 14 and 28 pixels), so that a
        row differs only in the decoder. ``vitdet`` and ``eva02`` have no depth decoder and need false.
    :param frozen: whether the backbone is frozen (the layers after it always train).
    :param frozen_blocks: the stem and this many of the first blocks are not trained, for ``efficientnet_lite``.
    :param freeze_depthwise: whether all depthwise filters are not trained, for ``efficientnet_lite``.
    :param pretrained: initial weights of a training run: a folder in transformers' layout, a published .pth file, or a
        hub id; for ``efficientnet_lite`` an installed package or a file; see
        :func:`seqpose_core.model.encoder_weights.load_pretrained`. Building a network does not read it.
    :raises ValueError: naming the settings that contradict each other.
    """

    kind: Literal["conv_vit", "dinov2", "dinov2_registers", "efficientnet_lite", "eva02", "vitdet"] = "conv_vit"
    size: Literal["small", "base", "large", "lite0", "lite1", "lite2"] | None = None
    width: int = 0
    depth: int = 0
    heads: int = 0
    stem_width: int = 64
    neck_width: int = 0
    out_layers: tuple[int, ...] = ()
    reassemble_widths: tuple[int, ...] = ()
    patch_size: int = 14
    pretrain_image_size: int = 0
    depth_decoder: bool = True
    frozen: bool = False
    frozen_blocks: int = 0
    freeze_depthwise: bool = False
    pretrained: str | None = None

    def __post_init__(self) -> None:
        numbers = self.dimensions()
        if self.kind == "efficientnet_lite":
            self._check_efficientnet_lite(numbers)
        elif self.frozen_blocks or self.freeze_depthwise:
            name = "frozen_blocks" if self.frozen_blocks else "freeze_depthwise"
            raise ValueError(f"{name} is {getattr(self, name)}; only efficientnet_lite has it")
        elif self.kind == "conv_vit":
            self._check_conv_vit(numbers)
        else:
            self._check_backbone(numbers)
        for name in ("neck_width",) if self.kind == "efficientnet_lite" else ("width", "depth", "heads", "neck_width"):
            if numbers[name] < 1:
                raise ValueError(f"{name} is {numbers[name]}; it must be positive")
        if numbers["heads"] and numbers["width"] % numbers["heads"]:
            raise ValueError(f"width {numbers['width']} is not a multiple of heads {numbers['heads']}")
        if self.patch_size not in _PATCH_SIZES[self.kind]:
            allowed = " or ".join(map(str, _PATCH_SIZES[self.kind]))
            raise ValueError(f"patch_size is {self.patch_size}; {self.kind} has {allowed}")
        pretrain = numbers["pretrain_image_size"]
        if pretrain < 0:
            raise ValueError(f"pretrain_image_size is {pretrain}; it must be at least 0")
        if pretrain % self.patch_size:
            raise ValueError(f"pretrain_image_size {pretrain} is not a multiple of patch_size {self.patch_size}")

    @property
    def finest_cells(self) -> int:
        """Cells of the finest level (s_0 and g_0) along each side of a patch."""
        if self.kind == "conv_vit":
            return 2
        if self.kind == "efficientnet_lite":
            return 4
        return 8 if self.depth_decoder else 4

    def resolved(self) -> EncoderConfig:
        """The same with all dimensions that its kind uses filled in."""
        return replace(self, **self.dimensions())

    def dimensions(self) -> dict[str, Any]:
        """The dimensions by name: those given, otherwise those of the named size."""
        numbers: dict[str, Any] = {"pretrain_image_size": _PRETRAIN_IMAGE_SIZES.get(self.kind, 0)}
        if self.kind == "conv_vit":
            numbers |= _CONV_VIT
        elif self.kind == "efficientnet_lite":
            numbers["neck_width"] = 64
        elif self.size in _LITE:
            raise ValueError(f"size is {self.size!r}; {self.kind} has {', '.join(map(repr, _VITS))}")
        elif self.size is not None:
            numbers |= _VITS[self.size] | (_PYRAMID if self.kind in _PYRAMID_KINDS else _NECKS[self.size])
        for name in (*_NEEDED["dinov2"], "pretrain_image_size"):
            given, of_size = getattr(self, name), numbers.get(name)
            if self.size is not None and name in _NEEDED.get(self.kind, ()) and given and given != of_size:
                raise ValueError(
                    f"{name} is {given}, but size {self.size!r} of {self.kind} has {of_size}; leave {name} out, or "
                    f"leave size out and give {', '.join(_NEEDED[self.kind])}"
                )
            numbers[name] = given or of_size or type(given)()
        return numbers

    def _check_conv_vit(self, numbers: dict[str, Any]) -> None:
        if self.size is not None:
            raise ValueError(f"size is {self.size!r}, but conv_vit has no named sizes; give width, depth and heads")
        for name in ("frozen", "pretrained"):
            if getattr(self, name):
                raise ValueError(f"{name} is {getattr(self, name)!r}, but conv_vit is always trained from scratch")
        if self.stem_width < 8 or self.stem_width % 8:
            raise ValueError(f"stem_width is {self.stem_width}; it must be a multiple of 8, the groups of its norms")
        if numbers["depth"] < 3:
            raise ValueError(f"depth is {numbers['depth']}; conv_vit needs at least 3, one for each output level")

    def _check_efficientnet_lite(self, numbers: dict[str, Any]) -> None:
        if self.size not in _LITE:
            raise ValueError(f"size is {self.size!r}; efficientnet_lite has {', '.join(map(repr, _LITE))}")
        for name in ("width", "depth", "heads", "out_layers", "reassemble_widths", "pretrain_image_size"):
            if numbers[name]:
                raise ValueError(f"{name} is {numbers[name]}; efficientnet_lite has none, its size decides")
        if self.frozen_blocks < 0:
            raise ValueError(f"frozen_blocks is {self.frozen_blocks}; it must be at least 0")

    def _check_backbone(self, numbers: dict[str, Any]) -> None:
        needed = _NEEDED[self.kind]
        missing = [name for name in needed if not numbers[name]]
        if missing:
            raise ValueError(
                f"{self.kind} needs a size (small, base or large) or all of {', '.join(needed)}; not given: "
                f"{', '.join(missing)}"
            )
        if self.kind in _PYRAMID_KINDS:
            if self.depth_decoder:
                raise ValueError(f"depth_decoder is true, but {self.kind} has none; it needs depth_decoder: false")
            if self.kind == "eva02" and numbers["pretrain_image_size"]:
                raise ValueError(f"pretrain_image_size is {numbers['pretrain_image_size']}; eva02 has none")
            if self.kind == "eva02" and numbers["width"] % (4 * numbers["heads"]):
                raise ValueError(
                    f"width {numbers['width']} is not a multiple of 4 x {numbers['heads']} heads, as eva02's rotary "
                    "positions need"
                )
            return
        layers, depth, widths = numbers["out_layers"], numbers["depth"], numbers["reassemble_widths"]
        if len(layers) != 4 or list(layers) != sorted(set(layers)) or layers[0] < 1 or layers[-1] != depth:
            raise ValueError(
                f"out_layers is {list(layers)}; it must be four ascending layers that end at depth {depth}"
            )
        if len(widths) != 4 or min(widths) < 1:
            raise ValueError(f"reassemble_widths is {list(widths)}; it must be four channel counts")
