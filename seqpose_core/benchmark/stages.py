# SPDX-License-Identifier: Apache-2.0
"""Time of the stages of a step in eager torch, by hooks on the modules."""

from __future__ import annotations

import time
from collections import defaultdict
from typing import Any

from torch import nn

from seqpose_core import SeqPose
from seqpose_core.model.layers import Attention
from seqpose_core.model.pose_head import PoseHead
from seqpose_core.model.stsq import DeformableAttention, PoseAwareLayerNorm, ReferenceEncoding

_BY_TYPE = {
    Attention: "temporal attention",
    DeformableAttention: "sampling",
    PoseAwareLayerNorm: "pose-aware norms",
    ReferenceEncoding: "position encoding",
    PoseHead: "pose head",
}
_BY_NAME = {"encoder": "encoder and neck", "fusion": "fusion", "centre_head": "centre heat map"}


class StageTimer:
    """Adds up the CPU time of the stages of a network; the time of a nested stage is not part of the outer one.

    :param model: the network that runs, with hooks until :meth:`remove`.
    """

    def __init__(self, model: SeqPose) -> None:
        self._open: list[tuple[str, float]] = []
        self._totals: defaultdict[str, float] = defaultdict(float)
        self._hooks: list[Any] = []
        for name, module in model.named_modules():
            stage = _stage_of(name, module)
            if stage is not None:
                self._hooks += [
                    module.register_forward_pre_hook(lambda *_, s=stage: self._enter(s)),  # type: ignore[misc]
                    module.register_forward_hook(lambda *_: self._leave()),
                ]

    def take(self) -> dict[str, float]:
        """Milliseconds by stage since the last call."""
        totals = {stage: 1e3 * seconds for stage, seconds in self._totals.items()}
        self._totals.clear()
        return totals

    def remove(self) -> None:
        """Remove the hooks."""
        for hook in self._hooks:
            hook.remove()

    def _enter(self, stage: str) -> None:
        now = time.process_time()
        if self._open:
            outer, since = self._open[-1]
            self._totals[outer] += now - since
        self._open.append((stage, now))

    def _leave(self) -> None:
        now = time.process_time()
        stage, since = self._open.pop()
        self._totals[stage] += now - since
        if self._open:
            self._open[-1] = (self._open[-1][0], now)


def _stage_of(name: str, module: nn.Module) -> str | None:
    if name in _BY_NAME:
        return _BY_NAME[name]
    if name.startswith("encoder."):
        return None
    parts = name.split(".")
    if "values" in parts[-2:-1]:
        return "value projections"
    if parts[-1] == "ffn":
        return "feed-forward"
    return _BY_TYPE.get(type(module))
