# SPDX-License-Identifier: Apache-2.0
"""Augmentation: mirroring and cropping with consistent cameras and poses; changes of colour, noise, blur and JPEG.

Geometry and colour are drawn once per clip and shared by its frames; noise, blur and compression are drawn per frame.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from seqpose_core.camera import Camera

MIRROR = np.diag([-1.0, 1.0, 1.0])  # of the camera frame: x → -x
MIRROR_OBJECT = np.diag([1.0, 1.0, -1.0])  # of an object frame: every category is symmetric under z → -z
_LUMA = np.array([0.299, 0.587, 0.114])
_NOISE_SCALE = 32.0  # standard deviation of the stored noise, in its integer steps


@dataclass(frozen=True)
class Augmentation:
    """Ranges and probabilities; 0 disables a part.

    flip: probability of mirroring. crop: largest part of each side that a crop removes, 0..1.
    gain, colour, gamma, contrast, saturation: largest relative change, one factor per clip (colour: one per
    channel). noise: largest standard deviation, grey levels. blur: largest Gaussian sigma, pixels, with
    blur_probability. jpeg_probability and jpeg_quality (lowest, highest, 0..100). hide_pose: probability that a
    clip's camera poses are hidden, so that the network also learns to work without them.
    """

    flip: float = 0.5
    crop: float = 0.15
    gain: float = 0.3
    colour: float = 0.1
    gamma: float = 0.25
    contrast: float = 0.25
    saturation: float = 0.4
    noise: float = 6.0
    blur: float = 1.0
    blur_probability: float = 0.25
    jpeg_probability: float = 0.2
    jpeg_quality: tuple[int, int] = (40, 95)
    hide_pose: float = 0.3

    def __post_init__(self) -> None:
        for name in ("flip", "crop", "gain", "colour", "gamma", "contrast", "saturation"):
            value = getattr(self, name)
            if not 0 <= value < (1.0 + 1e-9 if name == "flip" else 1.0):
                raise ValueError(f"augmentation {name} is {value}; it must lie in 0..1")
        for name in ("blur_probability", "jpeg_probability", "hide_pose"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"augmentation {name} is {getattr(self, name)}; it must lie in 0..1")
        if self.noise < 0 or self.blur < 0:
            raise ValueError(f"augmentation noise {self.noise} and blur {self.blur} must not be negative")
        low, high = self.jpeg_quality
        if not 0 <= low <= high <= 100:
            raise ValueError(f"augmentation jpeg_quality is {self.jpeg_quality}; it must be (low, high) in 0..100")


#: Nothing is changed.
NO_AUGMENTATION = Augmentation(
    flip=0,
    crop=0,
    gain=0,
    colour=0,
    gamma=0,
    contrast=0,
    saturation=0,
    noise=0,
    blur=0,
    blur_probability=0,
    jpeg_probability=0,
    hide_pose=0,
)


@dataclass(frozen=True)
class Window:
    """The part of a stored image that is used as input: width x height pixels from (x, y), mirrored if ``flip``."""

    x: int
    y: int
    width: int
    height: int
    flip: bool = False

    def image(self, image: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
        """The window of `image` (H, W, 3) resampled to (height, width, 3)."""
        part = image[self.y : self.y + self.height, self.x : self.x + self.width]
        if part.shape[:2] != (height, width):
            shrinking = self.width >= width and self.height >= height
            part = cv2.resize(part, (width, height), interpolation=cv2.INTER_AREA if shrinking else cv2.INTER_LINEAR)  # type: ignore[assignment]
        return cv2.flip(part, 1) if self.flip else np.ascontiguousarray(part)  # type: ignore[return-value]

    def camera(self, camera: Camera, height: int, width: int) -> Camera:
        """The camera of that image. Mirroring maps pixel u to width - 1 - u."""
        seen = camera.cropped(self.x, self.y, self.width, self.height).resized(width, height)
        cx = width - 1 - seen.cx if self.flip else seen.cx
        return Camera(seen.fx, seen.fy, cx, seen.cy, width, height)

    def cells(self, height: int, width: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Rows (height,) and columns (width,) of the stored pixels nearest to the centres of the target cells."""
        rows = self.y + ((np.arange(height) + 0.5) * (self.height / height)).astype(np.intp)
        columns = self.x + ((np.arange(width) + 0.5) * (self.width / width)).astype(np.intp)
        return rows, (columns[::-1] if self.flip else columns)


def centred_window(image_height: int, image_width: int, height: int, width: int) -> Window:
    """The largest centred window of an image with the aspect of (height, width)."""
    scale = min(image_height / height, image_width / width)
    part_height, part_width = round(height * scale), round(width * scale)
    return Window((image_width - part_width) // 2, (image_height - part_height) // 2, part_width, part_height)


def mirror_transform(transform: NDArray[np.float64]) -> NDArray[np.float64]:
    """A rigid transform (4, 4) between two frames after both are mirrored in x; its linear part stays a rotation."""
    sign = np.array([-1.0, 1.0, 1.0, 1.0])
    return transform * sign[:, None] * sign


@dataclass(frozen=True)
class ClipAugmentation:
    """The random values of one clip; apply them with :meth:`window` and :meth:`change_colours`."""

    flip: bool
    keep: float
    offset: tuple[float, float]
    mix: NDArray[np.float32] | None
    curve: NDArray[np.uint8]
    hide_pose: bool
    settings: Augmentation
    random: np.random.Generator = field(repr=False)

    @classmethod
    def draw(cls, settings: Augmentation, random: np.random.Generator) -> ClipAugmentation:
        """Draw the values of one clip; `random` is kept for the values drawn per frame."""
        flip, keep, offset_x, offset_y = random.random(4)
        around = 1 + random.uniform(-1, 1, 7) * np.array(
            [settings.gain] + [settings.colour] * 3 + [settings.gamma, settings.contrast, settings.saturation]
        )
        gain, colour, gamma, contrast, saturation = around[0], around[1:4], around[4], around[5], around[6]
        # Colour and saturation form one matrix; gain, contrast about middle grey and gamma form one tone curve.
        mix = colour[:, None] * (saturation * np.eye(3) + (1 - saturation) * _LUMA)
        level = np.arange(256) / 255
        level = np.clip((level * gain - 0.5) * contrast + 0.5, 0, 1) ** gamma
        plain = settings.colour == 0 and settings.saturation == 0
        return cls(
            flip=bool(flip < settings.flip),
            keep=1 - settings.crop * float(keep),
            offset=(float(offset_x), float(offset_y)),
            mix=None if plain else mix.astype(np.float32),
            curve=np.round(level * 255).astype(np.uint8),
            hide_pose=bool(random.random() < settings.hide_pose),
            settings=settings,
            random=random,
        )

    def window(self, image_height: int, image_width: int, height: int, width: int) -> Window:
        """The window of an image (image_height, image_width) that is resampled to (height, width)."""
        scale = self.keep * min(image_height / height, image_width / width)
        part_height, part_width = round(height * scale), round(width * scale)
        x = round(self.offset[0] * (image_width - part_width))
        y = round(self.offset[1] * (image_height - part_height))
        return Window(x, y, part_width, part_height, self.flip)

    def change_colours(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The image (H, W, 3) with changed colours, blur, noise and JPEG compression."""
        settings, random = self.settings, self.random
        if self.mix is not None:
            image = cv2.transform(image, self.mix)  # type: ignore[assignment]
        image = cv2.LUT(image, self.curve)  # type: ignore[assignment]
        blurred, sigma, amount, compressed, start = random.random(5)
        if blurred < settings.blur_probability and settings.blur > 0:
            image = cv2.GaussianBlur(image, (0, 0), max(0.2, settings.blur * sigma))  # type: ignore[assignment]
        if settings.noise > 0:
            pool = _noise_pool(image.size)
            first = int(start * (pool.size - image.size))
            factor = float(settings.noise * amount / _NOISE_SCALE)
            piece = pool[first : first + image.size].reshape(image.shape)
            noise = cv2.addWeighted(piece, factor, piece, 0.0, 0.0)
            image = cv2.add(image, noise, dtype=cv2.CV_8U)  # type: ignore[assignment]
        if compressed < settings.jpeg_probability:
            low, high = settings.jpeg_quality
            quality = int(random.integers(low, high + 1))
            encoded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
            image = cv2.imdecode(encoded, cv2.IMREAD_COLOR)  # type: ignore[assignment]
        return image


_pool = np.zeros(0, np.int16)


def _noise_pool(size: int) -> NDArray[np.int16]:
    """A pool of Gaussian noise to take slices from; drawing noise for each image would cost more than decoding it."""
    global _pool
    if _pool.size < 4 * size:
        draws = np.random.default_rng(0).normal(0, _NOISE_SCALE, max(4 * size, 1 << 20))
        _pool = np.round(draws).astype(np.int16)
    return _pool
