# SPDX-License-Identifier: Apache-2.0
"""Upper limits of the sizes in a configuration, so that the configuration of a checkpoint cannot exhaust the memory.

The largest published network (DINOv2 large: width 1024, depth 24) is far below the limits.
"""

from __future__ import annotations

import dataclasses
from typing import Any

#: Limit by field name; every other integer is at most :data:`_DEFAULT`.
_LIMITS = {
    "image_height": 2048,
    "image_width": 2048,
    "depth": 64,
    "layers": 32,
    "heads": 64,
    "points": 64,
    "ffn_ratio": 8,
    "upscale": 8,
    "frames": 64,
    "top_k": 1024,
    "denoising": 64,
}
_DEFAULT = 4096


def check_limits(config: Any, where: str = "") -> None:
    """Check all integers of a configuration dataclass, also in nested dataclasses and tuples.

    :raises ValueError: naming the key, the value and the limit.
    """
    for field in dataclasses.fields(config):
        value, name = getattr(config, field.name), f"{where}{field.name}"
        if dataclasses.is_dataclass(value):
            check_limits(value, f"{name}.")
        limit = _LIMITS.get(field.name, _DEFAULT)
        for number in value if isinstance(value, tuple) else (value,):
            if isinstance(number, int) and abs(number) > limit:
                raise ValueError(f"{name} is {number}; it must be at most {limit}")
