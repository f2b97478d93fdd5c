# SPDX-License-Identifier: Apache-2.0
"""What the node tells of its health: rates, latencies, what is missing; each complaint once in a while."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping

import numpy as np
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from std_msgs.msg import Header

WINDOW = 200  # processed frames that latencies are taken over
REPEAT_AFTER = 5.0  # seconds before the same complaint is logged again
FORGET_AFTER = 3.0  # seconds after which a complaint that did not come back is no longer the node's state


class Health:
    """Counts, timings and complaints of one node, fed from executor and worker alike; bounded in size.

    :param log: where a complaint goes, at most once every :data:`REPEAT_AFTER` for each kind.
    :param clock: monotonic seconds.
    """

    def __init__(self, log: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._log, self._clock = log, clock
        self._lock = threading.Lock()
        self._counts = {"images_received": 0, "images_processed": 0, "images_dropped": 0, "images_refused": 0}
        self._latency: deque[float] = deque(maxlen=WINDOW)
        self._inference: deque[float] = deque(maxlen=WINDOW)
        self._complaints: dict[str, tuple[str, float]] = {}  # kind -> text, last seen
        self._logged: dict[str, float] = {}
        self._last_image = clock()
        self._rate_origin = (clock(), dict(self._counts))

    def image_received(self, displaced: bool) -> None:
        """An image came in; ``displaced``: an older one was dropped for it, unprocessed."""
        with self._lock:
            self._counts["images_received"] += 1
            self._counts["images_dropped"] += displaced
            self._last_image = self._clock()

    def image_processed(self, latency: float, inference: float) -> None:
        """An image's results went out. Seconds from its stamp to then, and in the estimator."""
        with self._lock:
            self._counts["images_processed"] += 1
            self._latency.append(latency)
            self._inference.append(inference)

    def image_refused(self) -> None:
        """An image could not be used; the complaint says why."""
        with self._lock:
            self._counts["images_refused"] += 1

    def complain(self, kind: str, text: str) -> None:
        """Something is wrong: part of the state until it stays away, and logged unless it was just now."""
        now = self._clock()
        with self._lock:
            self._complaints[kind] = (text, now)
            due = now - self._logged.get(kind, -REPEAT_AFTER) >= REPEAT_AFTER
            if due:
                self._logged[kind] = now
        if due:
            self._log(text)

    def seconds_since_image(self) -> float:
        """Seconds since the last image came in; before the first, since the start."""
        with self._lock:
            return self._clock() - self._last_image

    def start(self) -> None:
        """Start the windows anew, on activation."""
        with self._lock:
            self._latency.clear()
            self._inference.clear()
            self._last_image = self._clock()

    def message(self, name: str, stamp: Time, active: bool, facts: Mapping[str, object]) -> DiagnosticArray:
        """Everything known now as one status; rates are means since the last call.

        :param name: of the status, by convention ``<node name>: <what>``.
        :param facts: further key-value pairs.
        """
        now = self._clock()
        with self._lock:
            self._complaints = {k: v for k, v in self._complaints.items() if now - v[1] < FORGET_AFTER}
            complaints = [text for text, _ in self._complaints.values()]
            counts, latency, inference = dict(self._counts), list(self._latency), list(self._inference)
            (since, before), self._rate_origin = self._rate_origin, (now, counts)
        period = max(now - since, 1e-9)
        values: dict[str, object] = dict(facts)
        values.update(counts)
        values["input_rate_hz"] = _short((counts["images_received"] - before["images_received"]) / period)
        values["output_rate_hz"] = _short((counts["images_processed"] - before["images_processed"]) / period)
        for label, seconds in (("latency", latency), ("inference", inference)):
            for percent in (50, 95):
                text = _short(1e3 * float(np.percentile(seconds, percent))) if seconds else "none yet"
                values[f"{label}_p{percent}_ms"] = text
        status = DiagnosticStatus(
            level=DiagnosticStatus.WARN if active and complaints else DiagnosticStatus.OK,
            name=name,
            message="; ".join(complaints) if active and complaints else ("running" if active else "not active"),
            hardware_id=str(facts.get("checkpoint", "")),
            values=[KeyValue(key=key, value=str(value)) for key, value in values.items()],
        )
        return DiagnosticArray(header=Header(stamp=stamp), status=[status])


def _short(value: float) -> str:
    return f"{value:.4g}"
