# SPDX-License-Identifier: Apache-2.0
"""Diagnostics of the node: image counts, rates, stage times and current problems. Logging is throttled per problem."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping

import numpy as np
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from std_msgs.msg import Header

from seqpose_ros.errors import shorten
from seqpose_ros.problems import ERROR, OK, STALE, WARN, Problem, Problems

WINDOW = 200  # processed frames in the percentiles of the stage times
LOG_PERIOD = 5.0  # seconds before the same problem is logged again
#: Stages of an image: from its stamp to its arrival; waiting for tf and for the worker; decoding; camera and its pose;
#: estimator; building and publishing the messages. The latency is from the stamp to the end of publishing.
STAGES = ("transport", "waiting", "decode", "prepare", "inference", "publish")


class NodeDiagnostics:
    """Counts, timings and problems of one node, bounded in size. Thread safe: the executor and the worker report to it.

    :param warn, error: log a problem of that level, at most once per :data:`LOG_PERIOD` and kind.
    :param clock: monotonic seconds.
    """

    def __init__(
        self, warn: Callable[[str], None], error: Callable[[str], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._log = {WARN: warn, STALE: warn, ERROR: error}
        self._clock = clock
        self._lock = threading.Lock()
        self._counts = {"images_received": 0, "images_processed": 0, "images_dropped": 0, "images_refused": 0}
        self._refused: Counter[str] = Counter()  # by kind of the problem
        self._times: dict[str, deque[float]] = {name: deque(maxlen=WINDOW) for name in (*STAGES, "latency")}
        self._problems = Problems()
        self._image = 0  # number of the current image
        self._logged: dict[str, float] = {}
        self._last_image = clock()
        self._rate_origin = (clock(), dict(self._counts))

    def image_received(self) -> None:
        """Count a received image."""
        with self._lock:
            self._counts["images_received"] += 1
            self._last_image = self._clock()

    def image_dropped(self) -> None:
        """Count an image that was replaced by a newer one before it was processed."""
        with self._lock:
            self._counts["images_dropped"] += 1

    def image_started(self) -> None:
        """The worker took the next image: problems of the previous one end unless they are reported again."""
        with self._lock:
            self._image += 1

    def image_processed(self, times: Mapping[str, float]) -> None:
        """Count a processed image.

        :param times: seconds of each stage, and ``latency``; stages that are not known are absent.
        """
        with self._lock:
            self._counts["images_processed"] += 1
            for name, seconds in times.items():
                self._times[name].append(seconds)

    def image_refused(self, kind: str, text: str, level: bytes = WARN, details: str = "") -> None:
        """Count an image that could not be used, and report the reason as :meth:`report_problem` does."""
        with self._lock:
            self._counts["images_refused"] += 1
            self._refused[kind] += 1
        self.report_problem(kind, text, level, details)

    def report_problem(
        self, kind: str, text: str, level: bytes = WARN, details: str = "", lasting: bool = False
    ) -> None:
        """Add a problem to the status while its condition lasts (see :mod:`problems`), and log it with throttling.

        :param details: logged after ``text``, but not part of the status.
        :param lasting: the problem ends only with :meth:`resolve`.
        """
        now, text = self._clock(), shorten(text)
        with self._lock:
            self._problems.report(kind, Problem(level, text, now, self._image, lasting))
            due = now - self._logged.get(kind, -LOG_PERIOD) >= LOG_PERIOD
            if due:
                self._logged[kind] = now
        if due:
            self._log[level](shorten(f"{text}\n{details}", 4000).strip())

    def resolve(self, kind: str) -> None:
        """End a problem."""
        with self._lock:
            self._problems.resolve(kind)

    def seconds_since_image(self) -> float:
        """Seconds since the last received image, or since :meth:`start`."""
        with self._lock:
            return self._clock() - self._last_image

    def start(self) -> None:
        """Clear timings and problems, on activation."""
        with self._lock:
            for times in self._times.values():
                times.clear()
            self._problems.clear()
            self._last_image = self._clock()

    def message(self, name: str, stamp: Time, active: bool, facts: Mapping[str, object]) -> DiagnosticArray:
        """The current status; rates are means since the previous call.

        :param name: of the status, by convention ``<node name>: <component>``.
        :param facts: additional key-value pairs.
        """
        now = self._clock()
        with self._lock:
            level, problems = self._problems.current(now, self._image)
            counts, refused = dict(self._counts), dict(self._refused)
            times = {stage: list(seconds) for stage, seconds in self._times.items()}
            age = now - self._last_image
            (since, before), self._rate_origin = self._rate_origin, (now, counts)
        period = max(now - since, 1e-9)
        values: dict[str, object] = {**facts, **counts}
        values |= {f"images_refused_{kind}": count for kind, count in sorted(refused.items())}
        values["input_rate_hz"] = _format((counts["images_received"] - before["images_received"]) / period)
        values["output_rate_hz"] = _format((counts["images_processed"] - before["images_processed"]) / period)
        values["newest_image_age_s"] = _format(age) if counts["images_received"] else "none yet"
        for label, seconds in times.items():
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


def is_status_of(status: DiagnosticStatus, node: str) -> bool:
    """Whether a node published this status: its name is ``<node name>: <component>``.

    :param node: fully qualified name; a leading slash is ignored.
    """
    return status.name.partition(":")[0].lstrip("/") == node.lstrip("/")


def _format(value: float) -> str:
    return f"{value:.4g}"
