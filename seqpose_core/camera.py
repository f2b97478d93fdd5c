# SPDX-License-Identifier: Apache-2.0
"""The pinhole camera: intrinsics, image size and lens distortion (OpenCV model).

Pixel centres lie at integer coordinates, so the image covers [-0.5, width - 0.5]. The camera frame is OpenCV's
and REP 103's optical frame: x right, y down, z forward.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import ArrayLike

_DISTORTION_LENGTHS = (4, 5, 8, 12, 14)


@dataclass(frozen=True)
class Camera:
    """Intrinsics of one camera.

    :param fx, fy, cx, cy: focal lengths and principal point, pixels.
    :param width, height: image size, pixels.
    :param distortion: OpenCV coefficients (k1, k2, p1, p2[, k3[, k4, k5, k6[, s1..s4[, tx, ty]]]]), or None for
        an image without distortion. All zeros become None.
    :param fisheye: the lens is equidistant (OpenCV's fisheye model) with the four coefficients ``distortion``; all
        zeros are the ideal equidistant lens, which is not a pinhole.
    :raises ValueError: if the size or a focal length is not positive, an intrinsic is not finite, or OpenCV has no
        model with this number of distortion coefficients.
    """

    fx: float
    fy: float
    cx: float
    cy: float
    width: int
    height: int
    distortion: tuple[float, ...] | None = None
    fisheye: bool = False

    def __post_init__(self) -> None:
        if self.width < 1 or self.height < 1:
            raise ValueError(f"camera size is {self.width}x{self.height}; both must be at least 1 pixel")
        values = (self.fx, self.fy, self.cx, self.cy)
        if not np.isfinite(values).all() or self.fx <= 0 or self.fy <= 0:
            raise ValueError(
                f"camera intrinsics are fx={self.fx}, fy={self.fy}, cx={self.cx}, cy={self.cy}; "
                "they must be finite and the focal lengths positive (is the camera calibrated?)"
            )
        if self.distortion is not None:
            coefficients = tuple(float(c) for c in self.distortion)
            if self.fisheye and len(coefficients) != 4:
                raise ValueError(f"an equidistant lens has 4 distortion coefficients, not {len(coefficients)}")
            if len(coefficients) not in _DISTORTION_LENGTHS:
                raise ValueError(
                    f"distortion has {len(coefficients)} coefficients; OpenCV supports {_DISTORTION_LENGTHS}"
                )
            if not np.isfinite(coefficients).all():
                raise ValueError(f"distortion coefficients {coefficients} must be finite")
            object.__setattr__(self, "distortion", coefficients if self.fisheye or any(coefficients) else None)
        elif self.fisheye:
            raise ValueError("an equidistant lens needs 4 distortion coefficients; they may be zero")

    @classmethod
    def from_matrix(
        cls, matrix: ArrayLike, width: int, height: int, distortion: ArrayLike | None = None, fisheye: bool = False
    ) -> Camera:
        """Build from a (3, 3) intrinsic matrix in pixels.

        :raises ValueError: if the matrix is not (3, 3), is transposed, or has a skew.
        """
        k = np.asarray(matrix, dtype=np.float64)
        if k.shape != (3, 3):
            raise ValueError(f"intrinsic matrix has shape {k.shape}; it must be (3, 3)")
        if k[2, :2].any() or k[1, 0]:
            raise ValueError(f"intrinsic matrix {k.tolist()} has values below its diagonal; is it transposed?")
        if abs(k[0, 1]) > 0.01 * abs(k[0, 0]):  # smaller values are calibration noise
            raise ValueError(f"intrinsic matrix has a skew of {k[0, 1]:g} pixels; cameras with skew are not supported")
        coefficients = None if distortion is None else tuple(np.asarray(distortion, dtype=np.float64).ravel())
        return cls(
            float(k[0, 0]),
            float(k[1, 1]),
            float(k[0, 2]),
            float(k[1, 2]),
            int(width),
            int(height),
            coefficients,
            fisheye,
        )

    @property
    def matrix(self) -> np.ndarray:
        """(3, 3) float64 intrinsic matrix, pixels."""
        return np.array([[self.fx, 0.0, self.cx], [0.0, self.fy, self.cy], [0.0, 0.0, 1.0]])

    def resized(self, width: int, height: int) -> Camera:
        """The camera of the same image resampled to ``width`` x ``height``."""
        sx, sy = width / self.width, height / self.height
        return Camera(
            self.fx * sx,
            self.fy * sy,
            (self.cx + 0.5) * sx - 0.5,
            (self.cy + 0.5) * sy - 0.5,
            width,
            height,
            self.distortion,
            self.fisheye,
        )

    def cropped(self, x: float, y: float, width: int, height: int) -> Camera:
        """The camera of a window whose pixel (0, 0) is this image's pixel (x, y). It may extend beyond the image."""
        return Camera(self.fx, self.fy, self.cx - x, self.cy - y, width, height, self.distortion, self.fisheye)

    def rectified(self) -> Camera:
        """The same intrinsics without distortion: the camera of the images that :meth:`rectify` returns."""
        return Camera(self.fx, self.fy, self.cx, self.cy, self.width, self.height)

    def rectify(self, image: np.ndarray) -> np.ndarray:
        """Resample an image (H, W, ...) of this camera to :meth:`rectified`. Without distortion the image is returned.

        :raises ValueError: if the image is not of this camera's size.
        """
        self.check_image(image)
        if self.distortion is None:
            return image
        return cv2.remap(image, *_rectification_maps(self), interpolation=cv2.INTER_LINEAR)

    def check_image(self, image: np.ndarray) -> None:
        """:raises ValueError: if ``image`` (H, W, ...) is not of this camera's size."""
        if image.shape[:2] != (self.height, self.width):
            raise ValueError(
                f"camera is {self.width}x{self.height} but the image is {image.shape[1]}x{image.shape[0]}"
                if image.ndim >= 2
                else f"image has shape {image.shape}; it must be (height, width, channels)"
            )

    def project(self, points: ArrayLike) -> np.ndarray:
        """Project camera-frame points (..., 3), metres, to pixels (..., 2), distortion included.

        Points at or behind the camera plane give NaN.
        """
        p = np.asarray(points, dtype=np.float64)
        with np.errstate(divide="ignore", invalid="ignore"):
            xy = np.where(p[..., 2:] > 0, p[..., :2] / p[..., 2:], np.nan)
        if self.fisheye:
            radius = np.linalg.norm(xy, axis=-1, keepdims=True)
            angle = np.arctan(radius)
            xy = xy * np.divide(self._distorted_angle(angle)[0], radius, out=np.ones_like(radius), where=radius > 0)
        elif self.distortion is not None:
            flat = np.concatenate([xy, np.ones_like(xy[..., :1])], axis=-1).reshape(-1, 3)
            in_front = np.isfinite(flat).all(axis=1)
            pixels = np.full((len(flat), 2), np.nan)
            if in_front.any():
                pixels[in_front] = cv2.projectPoints(
                    flat[in_front], np.zeros(3), np.zeros(3), self.matrix, np.asarray(self.distortion)
                )[0][:, 0]
            return pixels.reshape(xy.shape)
        return xy * (self.fx, self.fy) + (self.cx, self.cy)

    def unproject(self, pixels: ArrayLike, depth: ArrayLike) -> np.ndarray:
        """Camera-frame points (..., 3), metres, seen at pixels (..., 2) with z = ``depth`` (...), metres."""
        uv = np.asarray(pixels, dtype=np.float64)
        z = np.asarray(depth, dtype=np.float64)[..., None]
        xy = (uv - (self.cx, self.cy)) / (self.fx, self.fy)
        if self.fisheye:
            distorted = np.linalg.norm(xy, axis=-1, keepdims=True)
            angle = distorted.copy()
            for _ in range(20):  # Newton's method
                value, slope = self._distorted_angle(angle)
                angle = np.clip(angle - (value - distorted) / slope, 0, np.pi / 2)
            xy = xy * np.divide(np.tan(angle), distorted, out=np.ones_like(distorted), where=distorted > 0)
        elif self.distortion is not None:
            # Fixed-point iteration on project(): exact to rounding. OpenCV's undistortPoints stops after five
            # iterations, with an error of a tenth of a pixel at the corners.
            ones = np.ones_like(xy[..., :1])
            for _ in range(50):
                error = (uv - self.project(np.concatenate([xy, ones], axis=-1))) / (self.fx, self.fy)
                xy = xy + error
                if np.nanmax(np.abs(error), initial=0.0) < 1e-12:
                    break
        return np.concatenate([xy * z, z], axis=-1)

    def _distorted_angle(self, angle: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Image radius, in focal lengths, of rays at ``angle`` (rad) from the optical axis, and its derivative."""
        assert self.distortion is not None
        value, slope = angle, np.ones_like(angle)
        for power, k in zip((2, 4, 6, 8), self.distortion, strict=True):
            value, slope = value + k * angle ** (power + 1), slope + k * (power + 1) * angle**power
        return value, slope


@lru_cache(maxsize=8)
def _rectification_maps(camera: Camera) -> tuple[np.ndarray, np.ndarray]:
    """Source pixel of each rectified pixel, in OpenCV's fixed-point form, computed once per camera."""
    size = (camera.width, camera.height)
    if camera.fisheye:
        return cv2.fisheye.initUndistortRectifyMap(
            camera.matrix, np.asarray(camera.distortion), np.eye(3), camera.matrix, size, cv2.CV_16SC2
        )
    return cv2.initUndistortRectifyMap(
        camera.matrix, np.asarray(camera.distortion), np.eye(3), camera.matrix, size, cv2.CV_16SC2
    )
