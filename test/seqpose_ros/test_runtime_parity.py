# SPDX-License-Identifier: Apache-2.0
"""Every runtime agrees with eager torch in fp32 on all frames of the bundled bag, with memory, to 1e-5 m and rad.

Run with ``-s``, it prints the largest differences.
"""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import pytest

from seqpose_core import PoseEstimator
from seqpose_core.geometry import rotation_error
from seqpose_ros.bags.bag import Bag
from seqpose_ros.demo import BUNDLED_BAG

PACKAGES = {"openvino": "openvino", "onnx": "onnxruntime"}


@pytest.mark.slow
@pytest.mark.parametrize("runtime", PACKAGES)
def test_a_runtime_agrees_with_eager_on_all_frames_of_the_bag(runtime: str) -> None:
    if find_spec(PACKAGES[runtime]) is None:
        pytest.skip(f"{PACKAGES[runtime]} is not installed")
    eager, other = (PoseEstimator.from_pretrained("seqpose-lite2", runtime=name) for name in ("eager", runtime))
    differences, frames = [], 0
    with Bag(BUNDLED_BAG) as bag:
        for frame in bag.frames():
            stamp = 1e-9 * frame.stamp
            expected, found = (e.step(frame.image, frame.camera, stamp) for e in (eager, other))
            assert [(o.category, o.track_id) for o in found] == [(o.category, o.track_id) for o in expected]
            differences += [
                (np.linalg.norm(a.translation - b.translation), rotation_error(a.rotation, b.rotation))
                for a, b in zip(expected, found, strict=True)
            ]
            frames += 1
    metres, radians = np.max(differences, axis=0)
    print(f"{runtime}: {frames} frames, {len(differences)} objects, at most {metres:.1e} m and {radians:.1e} rad")
    assert frames == 100 and len(differences) > 200
    assert metres <= 1e-5 and radians <= 1e-5
