# SPDX-License-Identifier: Apache-2.0
"""The current problems of a node: one per kind, kept as long as its condition lasts."""

from __future__ import annotations

from dataclasses import dataclass

from diagnostic_msgs.msg import DiagnosticStatus

OK, WARN, ERROR, STALE = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR, DiagnosticStatus.STALE
#: Levels by severity: a fault is worse than the absence of new results.
SEVERITY = (OK, WARN, STALE, ERROR)
PROBLEM_LIFETIME = 3.0  # seconds after the last report until a problem can end


@dataclass
class Problem:
    """A reported problem.

    :param time: of the last report, seconds. :param image: number of the image that was processed at that time.
    :param lasting: it ends with :meth:`Problems.resolve` only.
    """

    level: bytes
    text: str
    time: float
    image: int
    lasting: bool


class Problems:
    """Problems by kind. A problem ends when it is resolved or, unless it is lasting, PROBLEM_LIFETIME after its last
    report, if a later image was processed without it. Not thread safe."""

    def __init__(self) -> None:
        self._problems: dict[str, Problem] = {}

    def report(self, kind: str, problem: Problem) -> None:
        """Add a problem, or replace the one of this kind."""
        self._problems[kind] = problem

    def resolve(self, kind: str) -> None:
        """End the problem of this kind, if there is one."""
        self._problems.pop(kind, None)

    def clear(self) -> None:
        """End all problems."""
        self._problems.clear()

    def current(self, now: float, image: int) -> tuple[bytes, list[str]]:
        """The worst level, and the texts, worst first.

        :param now: seconds. :param image: number of the image that is or was last processed.
        """
        self._problems = {kind: p for kind, p in self._problems.items() if _is_current(p, now, image)}
        problems = sorted(self._problems.values(), key=lambda p: -SEVERITY.index(p.level))
        return (problems[0].level if problems else OK), [p.text for p in problems]


def _is_current(problem: Problem, now: float, image: int) -> bool:
    """Whether a problem has not ended, see :class:`Problems`."""
    return problem.lasting or image == problem.image or now - problem.time < PROBLEM_LIFETIME
