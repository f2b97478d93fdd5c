# SPDX-License-Identifier: Apache-2.0
"""Sensor model from radiance to 8-bit image: defocus, motion blur, exposure, vignetting, noise, tone curve, JPEG."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from train.render.meshes import Array

Image = NDArray[np.float32]
_LUMINANCE = np.array([0.2126, 0.7152, 0.0722], np.float32)

_TONE_STEPS = 4096


def _tone_curve() -> Image:
    """Display values of linear levels 0 to 4: a shoulder that compresses highlights before they clip, then gamma."""
    x = np.arange(4 * _TONE_STEPS + 1) / _TONE_STEPS
    return np.power(np.minimum(x * (1 + 0.11 * x) / (1 + 0.55 * x) * 1.25, 1.2), 1 / 2.2).astype(np.float32)


_TONE = _tone_curve()


@dataclass(frozen=True)
class Sensor:
    """Settings of the sensor for one clip.

    ``grey``: linear level to which automatic exposure scales the mean of the image; ``drift`` (2,): standard deviation
    per second of log exposure and log white balance; ``balance`` (3,) gains; ``shot`` (variance per signal) and
    ``read`` (standard deviation): noise relative to linear full scale; ``vignette``: light lost in the corners, 0..1;
    ``sharpen``: gain of an unsharp mask; ``contrast``: gain about middle grey; ``saturation``: gain; ``aperture``:
    defocus in pixels x metres; ``blur``: sigma of the lens in pixels; ``shutter``: s; ``jpeg``: quality, 0 for none.
    """

    grey: float
    drift: tuple[float, float]
    balance: tuple[float, float, float]
    shot: float
    read: float
    vignette: float
    sharpen: float
    contrast: float
    saturation: float
    aperture: float
    blur: float
    shutter: float
    jpeg: int


def sample_sensor(rng: Generator, pace: float, light: Array) -> Sensor:
    """Random settings, from a phone in daylight to a cheap webcam.

    :param pace: of the camera's motion. :param light: (3,) white-balance gains for the light.
    """
    cheap = rng.beta(1.0, 2.0)
    warm = rng.normal(0, 0.09)
    red, green, blue = light * np.exp(np.array([warm, 0.0, -warm]) + rng.normal(0, 0.025, 3))
    return Sensor(
        grey=float(np.exp(rng.normal(np.log(0.21), 0.4))),
        drift=(float(rng.uniform(0, 0.12)), float(rng.uniform(0, 0.03))),
        balance=(float(red), float(green), float(blue)),
        shot=float(rng.uniform(0.0001, 0.004) * (0.3 + cheap)),
        read=float(rng.uniform(0.0003, 0.007) * (0.2 + cheap)),
        vignette=float(rng.uniform(0, 0.35)) if rng.random() < 0.5 else 0.0,
        sharpen=float(rng.uniform(0.2, 1.2)) if rng.random() < 0.4 else 0.0,
        contrast=float(rng.uniform(0.95, 1.6)),
        saturation=float(rng.uniform(0.85, 1.6)),
        aperture=float(rng.uniform(0.2, 1.5)) if rng.random() < 0.4 else 0.0,
        blur=float(rng.uniform(0.0, 0.8)),
        shutter=float(rng.uniform(0.001, 0.03)) * min(1.5, max(1.0, pace)),
        jpeg=int(rng.integers(35, 97)) if rng.random() < 0.75 else 0,
    )


def _blurred(image: Image, sigma: float) -> Image:
    return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma), dtype=np.float32)


def _flow(depth: Image, u: Image, v: Image, intrinsics: Array, later_from_now: Array) -> tuple[Image, Image]:
    """Displacement in pixels, by the camera's motion, of the points seen at pixels (u, v) with ``depth`` (m)."""
    fx, fy, cx, cy = (np.float32(intrinsics[i]) for i in ((0, 0), (1, 1), (0, 2), (1, 2)))
    x, y = (u - cx) / fx, (v - cy) / fy
    r = later_from_now[:3, :3].astype(np.float32)
    t = later_from_now[:3, 3, None, None].astype(np.float32) / np.maximum(depth, 0.05)
    scale = 1 / np.maximum(r[2, 0] * x + r[2, 1] * y + r[2, 2] + t[2], 0.05)
    flow_u = (r[0, 0] * x + r[0, 1] * y + r[0, 2] + t[0]) * scale * fx + cx - u
    flow_v = (r[1, 0] * x + r[1, 1] * y + r[1, 2] + t[1]) * scale * fy + cy - v
    return flow_u, flow_v


def _longest_flow(depth: Image, intrinsics: Array, later_from_now: Array, step: int) -> float:
    """Longest displacement in pixels on a grid of every ``step``-th pixel."""
    rows, columns = depth.shape
    u, v = np.meshgrid(np.arange(columns, dtype=np.float32) * step, np.arange(rows, dtype=np.float32) * step)
    return float(np.hypot(*_flow(depth, u, v, intrinsics, later_from_now)).max())


def motion_blur(image: Image, depth: Image, intrinsics: Array, later_from_now: Array) -> Image:
    """Average the image along the path of each pixel during the exposure, which is centred at the frame's time.

    :param image: (H, W, 3) linear; ``depth`` (H, W) m.
    :param later_from_now: (4, 4) transform of camera frames over the exposure time.
    """
    if _longest_flow(depth[::16, ::16], intrinsics, later_from_now, 16) < 0.7:
        return image
    height, width = depth.shape
    u, v = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    flow_u, flow_v = _flow(depth, u, v, intrinsics, later_from_now)
    longest = float(np.hypot(flow_u, flow_v).max())
    taps = int(np.clip(np.ceil(longest), 3, 9))
    total = np.zeros_like(image)
    for t in np.linspace(-0.5, 0.5, taps, dtype=np.float32):
        total += cv2.remap(image, u + t * flow_u, v + t * flow_v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return total / np.float32(taps)


def defocus(image: Image, depth: Image, aperture: float, focus: float) -> Image:
    """Blur by the circle of confusion, ``aperture`` |1/z - 1/focus| pixels; interpolates between three blur levels.

    :param depth: (H, W) m. :param aperture: pixels x metres. :param focus: focus distance, m.
    """
    radius = np.minimum(aperture * np.abs(1 / np.maximum(depth, 0.1) - 1 / focus), 3.0)
    if float(radius.max()) < 0.4:
        return image
    radius = _blurred(radius, 1.5)
    result = image
    for sigma, low, high in ((1.0, 0.3, 1.0), (2.5, 1.0, 2.5)):
        weight = np.clip((radius - low) / (high - low), 0, 1)[..., None]
        if float(weight.max()) > 0:
            result = result + weight * (_blurred(image, sigma) - result)
    return result


def expose(sensor: Sensor, image: Image, gain: float, balance: Array, rng: Generator) -> NDArray[np.uint8]:
    """The 8-bit image of linear radiance (H, W, 3): all effects of the sensor except defocus and motion blur."""
    height, width = image.shape[:2]
    if sensor.blur > 0.25:
        image = _blurred(image, sensor.blur)
    image = image * (gain * balance).astype(np.float32)
    if sensor.vignette > 0:
        y, x = np.ogrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
        falloff = np.asarray(1 - sensor.vignette * ((x * x + y * y) / 2) ** 1.5, dtype=np.float32)
        image = image * falloff[..., None]
    deviation = np.sqrt(np.float32(sensor.shot) * np.maximum(image, 0) + np.float32(sensor.read**2))
    image = image + deviation * rng.standard_normal(image.shape, dtype=np.float32)
    image = _TONE[np.clip(image * _TONE_STEPS, 0, 4 * _TONE_STEPS).astype(np.int32)]
    image = image + np.float32(sensor.contrast - 1) * (image - np.float32(0.45))
    luma = np.asarray(cv2.transform(image, _LUMINANCE[None]), dtype=np.float32)[..., None]
    image = luma + np.float32(sensor.saturation) * (image - luma)
    if sensor.sharpen > 0:
        image = image + np.float32(sensor.sharpen) * (image - _blurred(image, 1.0))
    result = np.clip(image * 255 + np.float32(0.5), 0, 255).astype(np.uint8)
    if sensor.jpeg:
        # OpenCV encodes and decodes BGR; JPEG weights the channels differently.
        done, data = cv2.imencode(".jpg", result[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, sensor.jpeg])
        if not done:
            raise OSError("JPEG encoding failed")
        result = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), dtype=np.uint8)[..., ::-1]
    return result


def tone_map(image: Image) -> NDArray[np.uint8]:
    """The 8-bit image of linear radiance (H, W, 3) by an ideal camera: exposed to middle grey, no noise."""
    exposed = image * np.float32(0.25 / max(1e-3, float(np.minimum(image, 2).mean())))
    display = _TONE[np.clip(exposed * _TONE_STEPS, 0, 4 * _TONE_STEPS).astype(np.int32)]
    return (display.clip(0, 1) * 255).astype(np.uint8)


class Exposure:
    """Automatic exposure and white balance over a clip: set on the first frame, then drifting."""

    def __init__(self, sensor: Sensor, rng: Generator) -> None:
        self._sensor, self._rng = sensor, rng
        self._gain: float | None = None
        self._log_gain, self._log_balance, self._last = 0.0, np.zeros(3), 0.0

    def gains(self, image: Image, stamp: float) -> tuple[float, Array]:
        """Gain and white balance (3,) for the frame at ``stamp`` seconds."""
        sensor = self._sensor
        if self._gain is None:
            self._gain = sensor.grey / max(1e-3, float(np.minimum(image, 2).mean()))
        step = float(np.sqrt(max(0.0, stamp - self._last)))
        self._last = stamp
        self._log_gain += sensor.drift[0] * step * self._rng.normal()
        self._log_balance += sensor.drift[1] * step * self._rng.normal(0, 1, 3)
        return self._gain * float(np.exp(self._log_gain)), np.array(sensor.balance) * np.exp(self._log_balance)


def take_picture(
    sensor: Sensor,
    exposure: Exposure,
    rng: Generator,
    image: Image,
    depth: Image,
    intrinsics: Array,
    later_from_now: Array,
    stamp: float,
) -> NDArray[np.uint8]:
    """The 8-bit image of a rendered view, with the effects of :class:`Sensor`.

    :param image: (H, W, 3) linear radiance; ``depth`` (H, W) m.
    :param later_from_now: (4, 4) transform of camera frames over the exposure time. :param stamp: s.
    """
    if sensor.aperture > 0:
        image = defocus(image, depth, sensor.aperture, float(np.median(depth)))
    image = motion_blur(image, depth, intrinsics, later_from_now)
    gain, balance = exposure.gains(image, stamp)
    return expose(sensor, image, gain, balance, rng)
