# SPDX-License-Identifier: Apache-2.0
"""``python -m seqpose_ros.soak``: run the node for a long time and cause a fault every few seconds.

The node runs in its own process and gets images at a fixed rate. After each fault, valid images are sent one by one and
counted until the node publishes detections for one. The command fails if the node logs a traceback, ends, publishes a
stamp that no image had, needs more than 3 valid images after a fault, uses more tf names than its pool has, or if its
memory grows by more than MAX_GROWTH over the last two thirds of the run, at the lower end of the slope's 95 % interval.
Runs of less than half a minute are too short for the last check; the command says so. Runs of 30 minutes or more also
report the growth of the last 20 minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from seqpose_core import CATEGORIES
from seqpose_core.command_line import command_parser
from seqpose_core.samples import sample_frames
from seqpose_ros.bags.replay import private_ros_environment
from seqpose_ros.frame_names import POOL_SIZE
from seqpose_ros.stress.faults import FAULTS, CameraSource
from seqpose_ros.stress.rig import WORLD, Client, NodeProcess, StressError, slope_with_interval

MAX_RECOVERY = 3  # valid images until detections
#: Megabytes. Allocator and DDS grow by one image (0.9 MB) when for the first time one more is held at once, which
#: becomes rare, but one such step in the evaluated time has a slope whose interval does not include 0. A leak exceeds
#: any bound if the run is long enough.
MAX_GROWTH = 2.0
_ANSWER_TIMEOUT = 5.0  # seconds for the detections of one image
_FAULT_TIME = 0.2  # seconds that the node gets to take the image of a fault
_SAMPLE_PERIOD = 1.0  # seconds between samples of the memory


@dataclass
class SoakRecord:
    """What happened during a run.

    :param recovery: for each caused fault, its name and the valid images until detections.
    :param memory: (seconds, megabytes) of the node.
    """

    recovery: list[tuple[str, int]] = field(default_factory=list)
    memory: list[tuple[float, float]] = field(default_factory=list)


def run(client: Client, process: NodeProcess, options: argparse.Namespace) -> SoakRecord:
    """Publish images and cause faults for the requested time.

    :raises StressError: the node ended.
    """
    random, record = np.random.default_rng(options.seed), SoakRecord()
    frames = [(image, camera) for image, camera, _ in sample_frames()]
    camera = CameraSource(client, [image for image, _ in frames], frames[0][1])
    _recover(client, camera, process)  # the first image
    names: list[str] = []
    begin = now = time.monotonic()
    next_image = next_sample = now
    next_fault = now + options.fault_period
    while now - begin < 60.0 * options.minutes:
        if now >= next_sample:
            record.memory.append((now - begin, process.resident_megabytes()))
            next_sample = now + _SAMPLE_PERIOD
        if now >= next_fault:
            names = names or list(random.permutation(list(FAULTS)))
            name = str(names.pop())
            _recover(client, camera, process)  # the node is idle, so that the fault is not replaced by a newer image
            FAULTS[name](client, camera, random)
            client.spin(_FAULT_TIME)
            record.recovery.append((name, _recover(client, camera, process)))
            next_fault = next_image = time.monotonic()
            next_fault += options.fault_period
        camera.send()
        next_image = max(next_image + 1.0 / options.rate, time.monotonic())
        client.spin(max(next_image - time.monotonic(), 0.0005))
        now = time.monotonic()
    return record


def _recover(client: Client, camera: CameraSource, process: NodeProcess) -> int:
    """Send valid images one by one until the node publishes detections for one; returns their number."""
    for count in range(1, 100):
        process.check_running()
        if client.answered(camera.send(), _ANSWER_TIMEOUT):
            return count
    raise StressError("the node did not publish detections for 100 valid images")


def summarize(client: Client, process: NodeProcess, record: SoakRecord, minutes: float) -> dict[str, Any]:
    """The report: what was measured, and the list of failed checks."""
    diagnostics = client.final_diagnostics()
    exit_status, log = process.stop(), process.log
    memory = memory_growth([sample for sample in record.memory if sample[0] >= 20.0 * minutes])
    at_end = [sample for sample in record.memory if sample[0] >= 60.0 * (minutes - 20)]
    last = memory_growth(at_end) if minutes >= 30 else None
    worst: Counter[str] = Counter()
    for name, count in record.recovery:
        worst[name] = max(worst[name], count)
    unknown = [stamp for stamp in client.received if stamp not in client.sent]
    names, limit = len(client.tf_frames), POOL_SIZE * len(CATEGORIES)
    failures = [f"after {name!r} the node needed {n} images" for name, n in worst.items() if n > MAX_RECOVERY]
    failures += [f"{len(unknown)} published stamps are of no image"] if unknown else []
    failures += [f"{log.count('Traceback')} tracebacks in the log"] if "Traceback" in log else []
    failures += [f"exit status {exit_status} after SIGINT"] if exit_status else []
    failures += [f"{names} tf names, at most {limit} are in the pool"] if names > limit else []
    if memory is not None and memory.total > MAX_GROWTH:
        rate = f"{60 * memory.slope:.3f} ± {60 * memory.half:.3f} MB per minute"
        failures.append(f"memory grows by {rate}, at least {memory.total:.1f} MB in the evaluated time")
    return {
        "minutes": minutes,
        "images_sent": len(client.sent),
        "detections": len(client.received),
        "faults": len(record.recovery),
        "worst_recovery_images": dict(worst),
        "memory_mb_by_minute": means_by_minute(record.memory),
        "memory_growth": None if memory is None else memory.report(),
        "memory_growth_last_20_minutes": None if last is None else last.report(),
        "tf_names": names,
        "node": {key: value for key, value in diagnostics.items() if key.startswith("images_") or key.endswith("_ms")},
        "failures": failures,
    }


class MemoryGrowth(NamedTuple):
    """A linear fit of the memory.

    :param slope: MB per second.
    :param half: half of the slope's 95 % interval.
    :param total: growth in MB over the time of the samples at the lower end of the interval.
    """

    slope: float
    half: float
    total: float

    def report(self) -> dict[str, Any]:
        """The numbers in MB and minutes."""
        interval = [60 * (self.slope - self.half), 60 * (self.slope + self.half)]
        return {
            "slope_mb_per_minute": 60 * self.slope,
            "interval_mb_per_minute": interval,
            "at_least_mb": self.total,
        }


def memory_growth(samples: Sequence[tuple[float, float]]) -> MemoryGrowth | None:
    """Growth of the memory; None for less than 20 samples.

    :param samples: (seconds, megabytes).
    """
    if len(samples) < 20:
        return None
    slope, half = slope_with_interval(*zip(*samples, strict=True))
    return MemoryGrowth(slope, half, (slope - half) * (samples[-1][0] - samples[0][0]))


def means_by_minute(samples: Sequence[tuple[float, float]]) -> list[float]:
    """Mean of each minute that has samples, in order.

    :param samples: (seconds, megabytes).
    """
    minutes: dict[int, list[float]] = {}
    for seconds, megabytes in samples:
        minutes.setdefault(int(seconds // 60), []).append(megabytes)
    return [round(float(np.mean(values)), 3) for values in minutes.values()]


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; exit status 1 if a check fails."""
    parser = command_parser(__doc__)
    parser.add_argument("--minutes", type=float, default=30.0, help="duration (default 30)")
    parser.add_argument("--rate", type=float, default=30.0, help="images per second (default 30)")
    parser.add_argument("--fault-period", type=float, default=5.0, help="seconds between faults (default 5)")
    parser.add_argument("--seed", type=int, default=0, help="of the order of the faults and the noise (default 0)")
    parser.add_argument("--checkpoint", default="seqpose-lite2", help="bundled name, folder or file")
    parser.add_argument("--out", type=Path, help="file for the report as JSON")
    options = parser.parse_args(arguments)
    if min(options.minutes, options.rate, options.fault_period) <= 0:
        parser.error("--minutes, --rate and --fault-period must be positive")
    os.environ.update(private_ros_environment())
    with tempfile.TemporaryDirectory() as folder:
        process = NodeProcess(Path(folder) / "node.log", {"checkpoint": options.checkpoint, "fixed_frame": WORLD})
        client = Client()
        try:
            client.connect(process)
            record = run(client, process, options)
            report = summarize(client, process, record, options.minutes)
        except StressError as error:
            print(f"soak failed: {error}", file=sys.stderr)
            return 1
        finally:
            client.close()
            process.stop()
    text = json.dumps(report, indent=2)
    print(text)
    if options.out is not None:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(text + "\n")
    if report["memory_growth"] is None:
        print("soak: too short to evaluate the memory; --minutes 1 suffices", file=sys.stderr)
    for failure in report["failures"]:
        print(f"soak failed: {failure}", file=sys.stderr)
    return 1 if report["failures"] else 0


if __name__ == "__main__":
    sys.exit(main())
