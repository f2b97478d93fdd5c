# SPDX-License-Identifier: Apache-2.0
"""``python -m seqpose_ros.benchmark``: time of an estimator step by number of threads, while other processes run.

The computer of a robot also runs other programs. The table has the time of a step while 0, 1 and 2 processes use one
core each. ``OMP_WAIT_POLICY=ACTIVE`` in the environment shows the effect of spinning OpenMP threads.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence

import numpy as np

from seqpose_core import Camera, PoseEstimator, threads

WIDTH, HEIGHT = 640, 480
CAMERA = Camera(600.0, 600.0, 319.5, 239.5, WIDTH, HEIGHT)
WARM_UP_STEPS = 5


@contextlib.contextmanager
def busy_processes(count: int) -> Iterator[None]:
    """Run ``count`` processes that use one core each."""
    processes = [subprocess.Popen([sys.executable, "-S", "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def step_times(estimator: PoseEstimator, steps: int) -> np.ndarray:
    """Durations of ``steps`` consecutive steps on a random image, milliseconds."""
    image = np.random.default_rng(0).integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    estimator.reset()
    times = []
    for index in range(WARM_UP_STEPS + steps):
        begin = time.perf_counter()
        estimator.step(image, CAMERA, stamp=0.1 * index)
        times.append(1e3 * (time.perf_counter() - begin))
    return np.array(times[WARM_UP_STEPS:])


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; prints one row per number of threads and of busy processes."""
    parser = argparse.ArgumentParser(prog="python -m seqpose_ros.benchmark", description=__doc__.split("\n")[0])
    parser.add_argument("--checkpoint", default="seqpose-lite2", help="bundled name, folder or file")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="default: 1 2")
    parser.add_argument(
        "--busy",
        "--neighbours",
        type=int,
        nargs="+",
        default=[0, 1, 2],
        help="numbers of busy processes; default: 0 1 2",
    )
    parser.add_argument("--steps", type=int, default=50, help="measured steps per row (default 50)")
    options = parser.parse_args(arguments)
    for name in ("threads", "steps"):
        if np.min(getattr(options, name)) < 1:
            parser.error(f"--{name} is {getattr(options, name)}; it must be at least 1")
    estimator = PoseEstimator.from_pretrained(options.checkpoint, device=options.device)
    load = os.getloadavg()[0]
    print(f"{os.cpu_count()} CPU cores, load {load:.1f}, OpenMP wait policy {threads.wait_policy()}, {options.device}")
    print("threads  busy processes  p50 ms  p95 ms")
    for count in options.threads:
        threads.set_threads(count)
        for busy in options.busy:
            with busy_processes(busy):
                p50, p95 = np.percentile(step_times(estimator, options.steps), (50, 95))
            print(f"{count:7d}  {busy:14d}  {p50:6.1f}  {p95:6.1f}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
