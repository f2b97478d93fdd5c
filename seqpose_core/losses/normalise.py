# SPDX-License-Identifier: Apache-2.0
"""What sums over objects and pixels are divided by."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

#: Takes how many objects or pixels were summed over, and gives what the sum is divided by; positive. Where several
#: processes share a batch it is the place to agree on one count, so that all samples weigh alike.
Normaliser = Callable[[Tensor], Tensor]


def at_least_one(count: Tensor) -> Tensor:
    """The count itself, or 1 where there was nothing to sum over."""
    return count.clamp_min(1)
