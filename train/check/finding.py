# SPDX-License-Identifier: Apache-2.0
"""Findings of a check, and their report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "warning", "error"]


@dataclass(frozen=True)
class Finding:
    """One line of the report.

    :param level: ``error`` = the run would fail or train on wrong data. :param subject: what was checked.
    """

    level: Level
    subject: str
    text: str


def level_of(value: float, warning: float, error: float) -> Level:
    """The level of a value that should be small: above ``error``, above ``warning``, or neither."""
    return "error" if value > error else "warning" if value > warning else "ok"


def format_report(findings: Sequence[Finding]) -> str:
    """Aligned lines in the order of the findings, and a last line with the numbers of errors and warnings."""
    width = max(len(finding.subject) for finding in findings)
    lines = [f"{finding.level:<7}  {finding.subject:<{width}}  {finding.text}" for finding in findings]
    errors, warnings = (sum(finding.level == level for finding in findings) for level in ("error", "warning"))
    verdict = "not ready" if errors else "ready"
    return "\n".join([*lines, f"{verdict}: {errors} errors, {warnings} warnings"])
