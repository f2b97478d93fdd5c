# SPDX-License-Identifier: Apache-2.0
"""Streams in one batch give the results of single streams, in every runtime."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec
from itertools import islice

import numpy as np
import pytest
from runtime_rig import PACKAGES, assert_same_objects, moved_camera, require
from tiny import tiny_model

from seqpose_core import PoseEstimator
from seqpose_core.batch import StreamFrame, step_together
from seqpose_core.samples import sample_frames


def streams() -> list[list[StreamFrame]]:
    """Two streams of four frames: the bundled frames forwards with camera poses, and backwards without."""
    frames = list(islice(sample_frames(), 4))
    forwards = [StreamFrame(image, camera, stamp, moved_camera(i)) for i, (image, camera, stamp) in enumerate(frames)]
    backwards = [StreamFrame(image, camera, 0.1 * i) for i, (image, camera, _) in enumerate(frames[::-1])]
    return [forwards, backwards]


@pytest.mark.slow
@pytest.mark.parametrize("runtime", PACKAGES)
def test_two_streams_in_one_batch_equal_single_streams(runtime: str) -> None:
    require(runtime)
    shared = PoseEstimator.from_pretrained("seqpose-lite", runtime=runtime).engine
    together, single = ([PoseEstimator(shared) for _ in range(2)] for _ in range(2))
    for frames in zip(*streams(), strict=True):
        expected = [e.step(f.image, f.camera, f.stamp, f.camera_pose) for e, f in zip(single, frames, strict=True)]
        for one, other in zip(step_together(together, frames), expected, strict=True):
            assert_same_objects(one, other)


def test_a_wrong_set_of_estimators_is_refused() -> None:
    one, other = PoseEstimator(tiny_model()), PoseEstimator(tiny_model())
    frame = StreamFrame(*next(sample_frames()))
    with pytest.raises(ValueError, match="2 estimators and 1 frames"):
        step_together([one, other], [frame])
    with pytest.raises(ValueError, match="occurs twice"):
        step_together([one, one], [frame, frame])
    with pytest.raises(ValueError, match="different engines"):
        step_together([one, other], [frame, frame])


def test_a_bad_camera_pose_of_one_stream_changes_no_stream() -> None:
    engine = PoseEstimator(tiny_model()).engine
    estimators = [PoseEstimator(engine) for _ in range(2)]
    frame = StreamFrame(*next(sample_frames()))
    with pytest.raises(ValueError, match="it must be finite"):
        step_together(estimators, [frame, replace(frame, camera_pose=np.full((4, 4), np.nan))])
    assert [estimator.memory_queries for estimator in estimators] == [0, 0]


@pytest.mark.slow
@pytest.mark.skipif(find_spec("openvino") is None, reason="openvino is not installed")
def test_streams_of_one_checkpoint_share_one_compiled_network() -> None:
    first, second = (PoseEstimator.from_pretrained("seqpose-lite", runtime="openvino") for _ in range(2))
    assert first.engine is second.engine
