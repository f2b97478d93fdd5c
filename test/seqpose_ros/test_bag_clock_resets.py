# SPDX-License-Identifier: Apache-2.0
"""Bags whose clock was reset in the middle, as when a simulation is restarted: its parts have equal stamps."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bag_rig import CAMERA, upright_object
from foreign_bag_rig import READ, content
from mcap_rig import McapFile
from rosbags.rosbag2 import StoragePlugin, Writer

from seqpose_core import ObjectPose
from seqpose_core.evaluation import ScoringOptions
from seqpose_ros.bags.bag import Bag
from seqpose_ros.bags.estimate import camera_poses, predict_bag
from seqpose_ros.bags.player import Timeline
from seqpose_ros.bags.realtime import predictions_by_index
from seqpose_ros.bags.replay import Recording
from seqpose_ros.bags.scoring import FrameGroundTruth, score_frames
from train.bag_messages import GROUND_TRUTH_TOPIC, MessageBuilder, typestore

SECOND, PERIOD, HALF = 10**9, 10**8, 60


@pytest.fixture(scope="module")
def restarted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs of a simulation of 60 frames each, with the stamps 0.1 to 6.0 s in both.

    Frame i of the bag has the camera at x = i metres, and the focal length 80 in the first run and 90 in the second.
    Transform and camera_info are recorded before the image in the first run, and after it in the second.
    """
    path = tmp_path_factory.mktemp("restarted") / "bag"
    store = typestore()
    builder = MessageBuilder(store, 90)
    picture = np.zeros((CAMERA.height, CAMERA.width, 3), np.uint8)
    with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        connections: dict[str, Any] = {}
        for index in range(2 * HALF):
            stamp, pose, camera = (1 + index % HALF) * PERIOD, np.eye(4), CAMERA
            pose[0, 3] = index
            info = builder.camera_info(camera, stamp)
            info.k = np.array([80.0 + 10 * (index // HALF), 0, 47.5, 0, 80, 35.5, 0, 0, 1])
            messages = [
                ("/tf", builder.transform(pose, stamp)),
                ("/camera_info", info),
                ("/image/compressed", builder.image(picture, stamp)),
            ]
            if index >= HALF:
                messages.reverse()
            for offset, (topic, message) in enumerate(messages):
                kind = message.__msgtype__
                if topic not in connections:
                    connections[topic] = writer.add_connection(topic, kind, typestore=store)
                time = 1_700_000_000 * SECOND + index * PERIOD + offset * 1_000_000
                writer.write(connections[topic], time, store.serialize_cdr(message, kind))
    return path


class CountsResets:
    """An estimator that returns the number of steps since its reset."""

    def __init__(self) -> None:
        self.steps = 0

    def reset(self) -> None:
        self.steps = 0

    def step(self, *_: Any) -> list[ObjectPose]:
        self.steps += 1
        return [upright_object("mug", (0, 0, 1))] * self.steps


def test_every_image_has_transform_and_camera_info_of_its_own_run(restarted: Path) -> None:
    with Bag(restarted) as bag:
        pose = camera_poses(bag, "world")
        frames = list(bag.frames())
        poses = [pose(frame) for frame in frames]
    assert [None if matrix is None else matrix[0, 3] for matrix in poses] == pytest.approx(list(range(2 * HALF)))
    assert [frame.camera.fx for frame in frames] == [80.0] * HALF + [90.0] * HALF
    assert [frame.sequence for frame in frames] == [0] * HALF + [1] * HALF


def test_memory_and_tracks_are_reset_at_the_jump_and_it_is_reported(restarted: Path) -> None:
    with Bag(restarted) as bag:
        run = predict_bag(CountsResets(), bag)  # type: ignore[arg-type]
        (text,) = bag.warnings
    assert [len(objects) for objects in run.objects.values()] == 2 * list(range(1, HALF + 1))
    # The last stamp of the first run is 6.0 s, the first of the second 0.1 s.
    assert text.startswith("the image stamps jump back 1 times, by up to 5.9 s; memory and tracks are reset")
    assert [frame.sequence for frame in run.frames] == [0] * HALF + [1] * HALF


def test_the_runs_are_two_clips_for_the_stability() -> None:
    mug = upright_object("mug", (0, 0, 1))
    frames = [FrameGroundTruth(i, (1 + i % 3) * PERIOD, [mug], sequence=i // 3) for i in range(6)]
    scored = score_frames(frames, {i: [mug] for i in range(6)}, "bag", ScoringOptions())
    assert scored is not None and scored.stability is not None
    assert [str(result["image_path"]).rpartition("/")[0] for result in scored.results] == ["bag"] * 3 + ["bag/1"] * 3


def record_twice(source: Path, out: Path) -> Path:
    """The bag twice, 60 s apart, with the stamps 0, 1.1, 2.2 and 3.3 s in both runs.

    In the second run the ground truth is 1 m further right.
    """
    file, rows, store = McapFile(), [], typestore()
    for topic, (msgtype, definition, messages) in content(source).items():
        if topic not in READ:
            continue
        channel = file.channel(topic, file.schema(msgtype, definition))
        for run, (number, (time, raw)) in product((0, 1), enumerate(messages)):
            message = store.deserialize_cdr(raw, msgtype)
            message.header.stamp.sec = number
            if topic == GROUND_TRUTH_TOPIC and run:
                message.detections[0].bbox.center.position.x += 1
                message.detections[0].results[0].pose.pose.position.x += 1
            rows.append((time + run * 60 * SECOND, channel, bytes(store.serialize_cdr(message, msgtype))))
    for time, channel, raw in sorted(rows):
        file.message(channel, time, raw)
    return file.write(out)


def test_ground_truth_is_that_of_the_images_run(bag_path: Path, tmp_path: Path) -> None:
    with Bag(record_twice(bag_path, tmp_path / "bag.mcap")) as bag:
        xs = [f.ground_truth[0].translation[0] if f.ground_truth else None for f in bag.frames()]
        assert not bag.skipped_ground_truths
    once = [0.0, 0.02, 0.04, 0.06]  # of bag_rig's mug
    assert xs == pytest.approx([*once, *(x + 1 for x in once)])


def test_outputs_of_a_stamp_that_several_images_have_are_assigned_to_none() -> None:
    timeline = Timeline(0, 1000, 1.0)
    recording = Recording(objects={1100: [], 1200: []}, latency={1100: 0.01, 1200: 0.02})
    assert predictions_by_index(recording, timeline, {0: 100, 1: 200, 2: 100}) == ({1: []}, {1: 0.02})
