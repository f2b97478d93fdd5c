# SPDX-License-Identifier: Apache-2.0
"""What a recipe may spend, what it has spent, and the state it resumes from."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from seqpose_core import config_io
from train.data.atomic_file import atomic_write_text

#: Shares of the time budget; what rendering does not need, because enough clips are there, goes to training.
RENDER_SHARE, TRAIN_SHARE = 0.25, 0.65


class SliceEndedError(Exception):
    """The time of this call is used up; the same command resumes."""


@dataclass(frozen=True)
class Recipe:
    """What to make.

    :param hours: the time budget in all, over all calls.
    :param config: training configuration whose data and stages the recipe replaces.
    :param max_clips: training clips to render at most. :param frames: frames of each.
    :param workers: processes that render and evaluate.
    :param batch: frames of each training step.
    :param init: checkpoint that the training starts from; None = as the configuration.
    :param assets: folder of train.render.assets, None = procedural environments only.
    """

    hours: float
    config: str
    max_clips: int = 25_000
    frames: int = 4
    workers: int = 1
    batch: int = 8
    init: str | None = None
    assets: str | None = None

    def __post_init__(self) -> None:
        if not self.hours > 0:
            raise ValueError(f"hours is {self.hours}; it must be positive")
        for name in ("max_clips", "frames", "workers"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 1")
        if self.batch < 4 or self.batch % 4:
            raise ValueError(f"batch is {self.batch} frames; it must be a multiple of 4, the longest training clip")


@dataclass(frozen=True)
class State:
    """How far a recipe has come.

    :param spent: seconds spent on each phase. :param clips: training clips, once rendering has ended.
    :param steps: length of the training, once its speed is measured. :param done: phases that are complete.
    """

    recipe: Recipe
    spent: dict[str, float] = field(default_factory=dict)
    clips: int | None = None
    steps: int | None = None
    done: tuple[str, ...] = ()


class Ledger:
    """The state of a recipe in OUT/state.yaml, and the deadline of this call.

    :param minutes: time of this call; None = no limit.
    :raises ValueError: if OUT holds another recipe.
    """

    def __init__(self, out: Path, recipe: Recipe, minutes: float | None = None) -> None:
        self._path = out / "state.yaml"
        self._deadline = None if minutes is None else time.monotonic() + 60 * minutes
        self.state = config_io.load_yaml(State, self._path) if self._path.is_file() else State(recipe)
        if replace(self.state.recipe, workers=recipe.workers) != recipe:
            raise ValueError(f"{out} holds {self.state.recipe}, but this call is {recipe}; choose another --out")

    def update(self, **changes: object) -> None:
        """Change fields of the state and save it."""
        self.state = replace(self.state, **changes)  # type: ignore[arg-type]
        atomic_write_text(self._path, config_io.dump_yaml(self.state))

    def remaining(self, phase: str, share: float) -> float:
        """Seconds that a phase may still spend of its share of the budget."""
        return share * 3600 * self.state.recipe.hours - self.state.spent.get(phase, 0.0)

    def slice_left(self) -> float | None:
        """Seconds left in this call, None without a limit.

        :raises SliceEndedError: if there are none.
        """
        if self._deadline is None:
            return None
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise SliceEndedError
        return left

    @contextmanager
    def spending(self, phase: str) -> Iterator[None]:
        """Add the time of the block to the phase, however it ends."""
        start = time.monotonic()
        try:
            yield
        finally:
            spent = {**self.state.spent, phase: self.state.spent.get(phase, 0.0) + time.monotonic() - start}
            self.update(spent=spent)

    def run(self, *arguments: object, limit: float | None = None) -> bool:
        """Run ``python -m`` with these arguments; whether it ended before ``limit`` seconds had passed.

        :raises SliceEndedError: the time of this call is used up. The command is ended; it must be able to resume.
        :raises ValueError: the command failed.
        """
        left = self.slice_left()
        timeouts = [value for value in (limit, left) if value is not None]
        with subprocess.Popen([sys.executable, "-m", *map(str, arguments)]) as process:
            try:
                status = process.wait(min(timeouts) if timeouts else None)
            except subprocess.TimeoutExpired:
                if limit is None or (left is not None and left < limit):
                    raise SliceEndedError from None
                return False
            finally:
                if process.poll() is None:
                    process.terminate()
        if status:
            raise ValueError(f"python -m {' '.join(map(str, arguments))} ended with status {status}")
        return True
