# SPDX-License-Identifier: Apache-2.0
"""``python -m seqpose_ros.fuzz``: random messages through the conversions and through the node in its own process.

Each conversion must give a result or a named refusal. The images and camera_infos for the node are sent one by one, so
that none is replaced by a newer one: a valid image must give detections with its stamp, and an invalid one must be
counted as refused. After each camera_info, an image with a valid camera_info must give detections.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from std_msgs.msg import Header

from seqpose_core import Camera
from seqpose_core.command_line import command_parser
from seqpose_ros.bags.replay import private_ros_environment
from seqpose_ros.errors import InputError
from seqpose_ros.from_messages import camera_for_image, camera_from_info
from seqpose_ros.images import decode
from seqpose_ros.stress.random_messages import random_compressed, random_image, random_info
from seqpose_ros.stress.rig import Client, NodeProcess, StressError, image_message, info_message

CAMERA = Camera(90.0, 92.0, 31.0, 23.0, 64, 48)
MAX_MEMORY_GROWTH = 50.0  # megabytes of the node, after its first 100 messages
_ANSWER_TIMEOUT = 20.0  # seconds
_REFUSAL_TIME = 0.1  # seconds that the node gets to take an image that it refuses
_ORDER_TIME = 0.01  # seconds between camera_info and image, which DDS delivers in any order


def fuzz_conversions(count: int, random: np.random.Generator) -> tuple[Counter[str], list[str]]:
    """Convert random messages in this process.

    :return: number of results and of refusals by kind; tracebacks of other exceptions.
    """
    outcomes: Counter[str] = Counter()
    failures = []
    for index in range(count):
        message = (random_image, random_compressed, random_info)[index % 3](random, Header(frame_id="camera"))
        try:
            if index % 3 == 2:
                camera_from_info(message, bool(random.integers(0, 2)))
            else:
                decode(message)
            outcomes["converted"] += 1
        except InputError as error:
            outcomes[f"refused_{error.kind}"] += 1
        except Exception:
            failures.append(f"message {index}: {traceback.format_exc()}")
    return outcomes, failures


def refusal(image: Any, info: Any) -> str:
    """The kind of the refusal that the node must give to an image, or "" if it must process it."""
    try:
        camera_for_image(decode(image), info, rectified=False)
    except InputError as error:
        return error.kind
    return ""


class NodeFuzz:
    """Sends random messages to the node and compares its outputs with the expected ones."""

    def __init__(self, client: Client, process: NodeProcess, random: np.random.Generator) -> None:
        self._client, self._process, self._random = client, process, random
        self.expected: Counter[str] = Counter()  # "processed", or kind of the refusal
        self.failures: list[str] = []
        self.memory: list[float] = []
        pixels = random.integers(0, 256, (CAMERA.height, CAMERA.width, 3), np.uint8)
        self._valid = image_message(client.header(), pixels)
        self._valid_info = info_message(client.header(), CAMERA)

    def run(self, images: int, infos: int) -> None:
        """Send the messages.

        :raises StressError: the node ended.
        """
        self._send_valid("at the start")
        for index in range(images):
            message = random_image(self._random, self._client.header())
            self._send(message, refusal(message, self._valid_info), f"image {index}")
            self._sample(index)
        for index in range(infos):
            self._client.publish_info(random_info(self._random, self._client.header()))
            self._client.spin(_ORDER_TIME)
            self._send_valid(f"after camera_info {index}")
            self._sample(index)

    def _send_valid(self, when: str) -> None:
        self._client.publish_info(self._valid_info)
        self._client.spin(_ORDER_TIME)
        self._valid.header = self._client.header()
        self._send(self._valid, "", f"the valid image {when}")

    def _send(self, message: Any, kind: str, name: str) -> None:
        self.expected[kind or "processed"] += 1
        stamp = self._client.publish_image(message)
        if kind:
            self._client.spin(_REFUSAL_TIME)
        elif not self._client.answered(stamp, _ANSWER_TIMEOUT):
            self.failures.append(f"{name} got no detections")

    def _sample(self, index: int) -> None:
        if index % 50 == 49:
            self.memory.append(self._process.resident_megabytes())

    def check_counts(self, diagnostics: dict[str, str]) -> None:
        """Compare the counts of the node with the expected ones."""
        # Lost on the way, or replaced: the subscription and the node keep the newest image only.
        unread = self.expected.total() - int(diagnostics["images_received"])
        replaced = unread + int(diagnostics["images_dropped"])
        if replaced:
            text = f"{replaced} images did not arrive or were replaced by newer ones, so that counts differ"
            self.failures.append(text)
            return
        processed = int(diagnostics["images_processed"])
        if processed != self.expected["processed"]:
            self.failures.append(f"{processed} images were processed, expected {self.expected['processed']}")
        for kind in sorted(set(self.expected) - {"processed"}):
            count = int(diagnostics.get(f"images_refused_{kind}", "0"))
            if count != self.expected[kind]:
                self.failures.append(f"{count} images were refused as {kind}, expected {self.expected[kind]}")


def fuzz_node(images: int, infos: int, checkpoint: str, random: np.random.Generator) -> dict[str, Any]:
    """Start the node and send random messages to it; returns the report.

    :raises StressError: the node did not start or ended.
    """
    with tempfile.TemporaryDirectory() as folder:
        process = NodeProcess(Path(folder) / "node.log", {"checkpoint": checkpoint})
        client = Client()
        try:
            client.connect(process)
            fuzz = NodeFuzz(client, process, random)
            fuzz.run(images, infos)
            diagnostics = client.final_diagnostics()
            fuzz.check_counts(diagnostics)
            exit_status, log = process.stop(), process.log
        finally:
            client.close()
            process.stop()
    if exit_status:
        fuzz.failures.append(f"exit status {exit_status} after SIGINT")
    if "Traceback" in log:
        fuzz.failures.append(f"tracebacks in the log: {log[log.index('Traceback') :][:2000]}")
    growth = max(fuzz.memory[2:]) - fuzz.memory[1] if len(fuzz.memory) > 2 else 0.0
    if growth > MAX_MEMORY_GROWTH:
        fuzz.failures.append(f"the memory of the node grew by {growth:.0f} MB")
    return {
        "images": images,
        "camera_infos": infos,
        "outcomes": dict(fuzz.expected),
        "memory_growth_mb": round(growth, 1),
        "failures": fuzz.failures,
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; exit status 1 if a check fails."""
    parser = command_parser(__doc__)
    parser.add_argument("--conversions", type=int, default=20_000, help="random messages to convert (default 20000)")
    parser.add_argument("--images", type=int, default=2000, help="random images for the node (default 2000)")
    parser.add_argument(
        "--camera-infos", type=int, default=2000, help="random camera_infos for the node (default 2000)"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--checkpoint", default="seqpose-lite2", help="bundled name, folder or file")
    parser.add_argument("--out", type=Path, help="file for the report as JSON")
    options = parser.parse_args(arguments)
    begin = time.monotonic()
    os.environ.update(private_ros_environment())
    outcomes, failures = fuzz_conversions(options.conversions, np.random.default_rng(options.seed))
    report: dict[str, Any] = {"seed": options.seed, "conversions": dict(outcomes)}
    if options.images or options.camera_infos:
        random = np.random.default_rng(options.seed + 1)
        try:
            report["node"] = fuzz_node(options.images, options.camera_infos, options.checkpoint, random)
        except StressError as error:
            print(f"fuzz failed: {error}", file=sys.stderr)
            return 1
        failures += report["node"]["failures"]
    report |= {"seconds": round(time.monotonic() - begin, 1), "failures": failures}
    text = json.dumps(report, indent=2)
    print(text)
    if options.out is not None:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(text + "\n")
    for failure in failures[:20]:
        print(f"fuzz failed: {failure}", file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
