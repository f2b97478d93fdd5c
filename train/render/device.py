# SPDX-License-Identifier: Apache-2.0
"""The OpenGL context on EGL, and matrices and cameras in OpenGL's conventions."""

from __future__ import annotations

import os

import moderngl
import numpy as np

from train.render.meshes import Array

NEAR, FAR = 0.05, 12.0


def create_context() -> moderngl.Context:
    """A standalone EGL context.

    :raises RuntimeError: no EGL driver; the message names the system packages that provide one.
    """
    # One llvmpipe thread per process: several processes scale better than several threads.
    os.environ.setdefault("LP_NUM_THREADS", "1")
    try:
        # moderngl annotates **settings as if it were one dict.
        return moderngl.create_context(standalone=True, backend="egl")  # type: ignore[arg-type]
    except Exception as error:
        raise RuntimeError(
            f"no OpenGL through EGL ({error}); install the system packages libegl1 and libgl1-mesa-dri"
        ) from error


def clip_from_camera(matrix: Array, width: int, height: int) -> Array:
    """OpenGL projection (4, 4) of an OpenCV camera; image row 0 becomes the framebuffer's first row."""
    fx, fy, cx, cy = matrix[0, 0], matrix[1, 1], matrix[0, 2], matrix[1, 2]
    result = np.zeros((4, 4))
    result[0, 0], result[0, 2] = 2 * fx / width, 2 * (cx + 0.5) / width - 1
    result[1, 1], result[1, 2] = 2 * fy / height, 2 * (cy + 0.5) / height - 1
    result[2, 2], result[2, 3] = (FAR + NEAR) / (FAR - NEAR), -2 * FAR * NEAR / (FAR - NEAR)
    result[3, 2] = 1
    return result


def uniform(program: moderngl.Program, name: str) -> moderngl.Uniform:
    member = program[name]
    assert isinstance(member, moderngl.Uniform), name
    return member


def column_major(matrix: Array) -> bytes:
    """Column-major float32, as GLSL reads matrices."""
    return np.ascontiguousarray(matrix.T, dtype=np.float32).tobytes()
