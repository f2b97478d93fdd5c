# SPDX-License-Identifier: Apache-2.0
"""The time budget of a recipe, the time spent, and the state from which it resumes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from seqpose_core import config_io
from train.data.atomic_file import atomic_write_text

#: Shares of the time budget; time that rendering does not use, because there are enough clips, is used for training.
RENDER_SHARE, TRAIN_SHARE = 0.25, 0.65
_GRACE = 20.0  # seconds that a command has to end


class CallTimeOverError(Exception):
    """The time of this call is over; the same command resumes."""


@dataclass(frozen=True)
class Recipe:
    """The settings of a recipe.

    :param hours: total time budget over all calls.
    :param config: training configuration whose data and stages the recipe replaces.
    :param max_clips: maximum number of rendered training clips. :param frames: frames of each.
    :param workers: processes that render and evaluate.
    :param batch: frames of each training step.
    :param init: checkpoint that the training starts from; None = that of the configuration.
    :param assets: folder of train.render.assets, None = procedural environments only.
    :param benchmark: name in train.render.splits.BENCHMARKS, for validation and evaluation.
    """

    hours: float
    config: str
    max_clips: int = 50_000
    frames: int = 4
    workers: int = 1
    batch: int = 8
    init: str | None = None
    assets: str | None = None
    benchmark: str = "seqpose-synth"

    def __post_init__(self) -> None:
        if not self.hours > 0:
            raise ValueError(f"hours is {self.hours}; it must be positive")
        for name in ("max_clips", "frames", "workers"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 1")
        if self.batch < 4 or self.batch % 4:
            raise ValueError(f"batch is {self.batch} frames; it must be a multiple of 4, the longest training clip")


@dataclass(frozen=True)
class PhaseSeconds:
    """Seconds spent on each phase, over all calls."""

    render: float = 0.0
    train: float = 0.0
    evaluate: float = 0.0


@dataclass(frozen=True)
class State:
    """What a recipe has done so far; OUT/state.yaml.

    :param spent: time spent. :param clips: number of training clips, set after rendering.
    :param steps: number of training steps, set after the speed was measured. :param done: complete phases.
    """

    recipe: Recipe
    spent: PhaseSeconds = PhaseSeconds()
    clips: int | None = None
    steps: int | None = None
    done: tuple[str, ...] = ()


def stored_state(out: Path) -> State | None:
    """The state of the recipe in a folder, None without one."""
    path = out / "state.yaml"
    return config_io.load_yaml(State, path) if path.is_file() else None


class Progress:
    """Reads and writes the state of a recipe, and runs its commands within the time of this call.

    :param minutes: time of this call; None = no limit.
    :raises ValueError: if OUT holds another recipe.
    """

    def __init__(self, out: Path, recipe: Recipe, minutes: float | None = None) -> None:
        self._path = out / "state.yaml"
        self._deadline = None if minutes is None else time.monotonic() + 60 * minutes
        self.state = stored_state(out) or State(recipe)
        if replace(self.state.recipe, workers=recipe.workers) != recipe:
            raise ValueError(f"{out} holds {self.state.recipe}, but this call is {recipe}; choose another --out")

    def update(self, **changes: object) -> None:
        """Change fields of the state and save it."""
        self.state = replace(self.state, **changes)  # type: ignore[arg-type]
        atomic_write_text(self._path, config_io.dump_yaml(self.state))

    def remaining(self, phase: str, share: float) -> float:
        """Seconds that a phase may still spend of its share of the budget."""
        return share * 3600 * self.state.recipe.hours - getattr(self.state.spent, phase)

    def call_time_left(self) -> float | None:
        """Remaining seconds of this call, None without a limit.

        :raises CallTimeOverError: if no time remains.
        """
        if self._deadline is None:
            return None
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise CallTimeOverError
        return left

    @contextmanager
    def timed(self, phase: str) -> Iterator[None]:
        """Add the duration of the block to the phase, also if it raises an error."""
        start = time.monotonic()
        try:
            yield
        finally:
            total = getattr(self.state.spent, phase) + time.monotonic() - start
            self.update(spent=replace(self.state.spent, **{phase: total}))

    def run(self, *arguments: object, limit: float | None = None) -> bool:
        """Run ``python -m`` with these arguments; returns whether it ended within ``limit`` seconds.

        :raises CallTimeOverError: the time of this call is over. The command is terminated; it must be able to resume.
        :raises ValueError: the command failed.
        """
        left = self.call_time_left()
        timeouts = [value for value in (limit, left) if value is not None]
        # In a separate session, so that the workers of the command are terminated with it.
        with subprocess.Popen([sys.executable, "-m", *map(str, arguments)], start_new_session=True) as process:
            try:
                status = process.wait(min(timeouts) if timeouts else None)
            except subprocess.TimeoutExpired:
                if limit is None or (left is not None and left < limit):
                    raise CallTimeOverError from None
                return False
            finally:
                _end(process)
        if status:
            raise ValueError(f"python -m {' '.join(map(str, arguments))} ended with status {status}")
        return True


def _end(process: subprocess.Popen[bytes]) -> None:
    """Terminate a process and its children: SIGTERM first, then SIGKILL."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            return
        try:
            process.wait(_GRACE)
        except subprocess.TimeoutExpired:
            continue
