# SPDX-License-Identifier: Apache-2.0
"""Diagnostics of the node: image counts, rates, latencies and current problems. Logging is throttled per problem."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping

import numpy as np
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from std_msgs.msg import Header

from seqpose_ros.errors import shorten

OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR
WINDOW = 200  # processed frames in the latency percentiles
LOG_PERIOD = 5.0  # seconds before the same problem is logged again
PROBLEM_LIFETIME = 3.0  # seconds after its last report until a problem counts as solved


class NodeDiagnostics:
    """Counts, timings and problems of one node, bounded in size. Thread safe: the executor and the worker report to it.

    :param warn, error: log a problem of that level, at most once per :data:`LOG_PERIOD` and kind.
    :param clock: monotonic seconds.
    """

    def __init__(
        self, warn: Callable[[str], None], error: Callable[[str], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._log = {WARN: warn, ERROR: error}
        self._clock = clock
        self._lock = threading.Lock()
        self._counts = {"images_received": 0, "images_processed": 0, "images_dropped": 0, "images_refused": 0}
        self._latency: deque[float] = deque(maxlen=WINDOW)
        self._inference: deque[float] = deque(maxlen=WINDOW)
        self._problems: dict[str, tuple[bytes, str, float]] = {}  # kind -> level, text, time of the last report
        self._logged: dict[str, float] = {}
        self._last_image = clock()
        self._rate_origin = (clock(), dict(self._counts))

    def image_received(self, replaced: bool) -> None:
        """Count a received image. ``replaced``: an older image was dropped in favour of it."""
        with self._lock:
            self._counts["images_received"] += 1
            self._counts["images_dropped"] += replaced
            self._last_image = self._clock()

    def image_processed(self, latency: float, inference: float) -> None:
        """Count a processed image.

        :param latency: seconds from the image stamp to publishing. :param inference: seconds in the estimator.
        """
        with self._lock:
            self._counts["images_processed"] += 1
            self._latency.append(latency)
            self._inference.append(inference)

    def image_refused(self) -> None:
        """Count an image that could not be used; :meth:`report_problem` gives the reason."""
        with self._lock:
            self._counts["images_refused"] += 1

    def report_problem(self, kind: str, text: str, level: bytes = WARN, details: str = "") -> None:
        """Report a problem: it is part of the status for :data:`PROBLEM_LIFETIME`, and is logged with throttling.

        :param details: logged after ``text``, but not part of the status.
        """
        now, text = self._clock(), shorten(text)
        with self._lock:
            self._problems[kind] = (level, text, now)
            due = now - self._logged.get(kind, -LOG_PERIOD) >= LOG_PERIOD
            if due:
                self._logged[kind] = now
        if due:
            self._log[level](shorten(f"{text}\n{details}", 4000).strip())

    def seconds_since_image(self) -> float:
        """Seconds since the last received image, or since :meth:`start`."""
        with self._lock:
            return self._clock() - self._last_image

    def start(self) -> None:
        """Clear the timings, on activation."""
        with self._lock:
            self._latency.clear()
            self._inference.clear()
            self._last_image = self._clock()

    def message(self, name: str, stamp: Time, active: bool, facts: Mapping[str, object]) -> DiagnosticArray:
        """The current status; rates are means since the previous call.

        :param name: of the status, by convention ``<node name>: <component>``.
        :param facts: additional key-value pairs.
        """
        now = self._clock()
        with self._lock:
            self._problems = {k: v for k, v in self._problems.items() if now - v[2] < PROBLEM_LIFETIME}
            problems = [text for _, text, _ in self._problems.values()]
            level = max((level for level, _, _ in self._problems.values()), default=OK)
            counts, latency, inference = dict(self._counts), list(self._latency), list(self._inference)
            (since, before), self._rate_origin = self._rate_origin, (now, counts)
        period = max(now - since, 1e-9)
        values: dict[str, object] = dict(facts)
        values.update(counts)
        values["input_rate_hz"] = _format((counts["images_received"] - before["images_received"]) / period)
        values["output_rate_hz"] = _format((counts["images_processed"] - before["images_processed"]) / period)
        for label, seconds in (("latency", latency), ("inference", inference)):
            for percent in (50, 95):
                text = _format(1e3 * float(np.percentile(seconds, percent))) if seconds else "none yet"
                values[f"{label}_p{percent}_ms"] = text
        status = DiagnosticStatus(
            level=level if active else OK,
            name=name,
            message="; ".join(problems) if active and problems else ("running" if active else str(facts["state"])),
            hardware_id=str(facts.get("checkpoint", "")),
            values=[KeyValue(key=key, value=str(value)) for key, value in values.items()],
        )
        return DiagnosticArray(header=Header(stamp=stamp), status=[status])


def _format(value: float) -> str:
    return f"{value:.4g}"
