# SPDX-License-Identifier: Apache-2.0
"""Normalisation of losses that are summed over objects or pixels."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

#: Takes the number of summed objects or pixels and returns the positive divisor of the sum. If several processes share
#: a batch, it can return the mean count of all, so that all samples have the same weight.
Normaliser = Callable[[Tensor], Tensor]


def at_least_one(count: Tensor) -> Tensor:
    """The count, or 1 if it is 0."""
    return count.clamp_min(1)
