# SPDX-License-Identifier: Apache-2.0
"""The scripts of examples/ run as they stand."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def run(name: str, *arguments: str, cwd: Path) -> str:
    """Run an example from another folder; returns what it printed."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(ROOT / "examples" / name), *arguments]
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_the_video_example_prints_poses_of_every_sample_frame(tmp_path: Path) -> None:
    printed = run("predict_video.py", cwd=tmp_path)
    assert printed.count("frame at") == 10
    assert "bottle" in printed


def test_the_image_example_writes_a_picture_per_image(tmp_path: Path) -> None:
    run("predict_images.py", "--out", "pictures", cwd=tmp_path)
    assert len(list((tmp_path / "pictures").glob("*.png"))) == 10


def test_the_bag_example_compares_with_the_ground_truth(tmp_path: Path) -> None:
    printed = run("replay_bag.py", "--every", "50", cwd=tmp_path)
    assert printed.count("frame ") == 2
    assert " cm" in printed


@pytest.mark.slow
def test_the_finetuning_example_ends_with_a_checkpoint_that_loads(tmp_path: Path) -> None:
    from nocs_tree import write_tree

    from seqpose_core import PoseEstimator

    for split in ("train", "val"):
        write_tree(tmp_path / "data", split)
    run("finetune.py", "--data", "data", "--steps", "2", "--out", "finetune", cwd=tmp_path)
    PoseEstimator.from_pretrained(tmp_path / "finetune" / "model")


def test_the_subscriber_example_prints_what_a_node_publishes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import rclpy
    from rclpy.context import Context
    from rclpy.node import Node
    from vision_msgs.msg import Detection3D, Detection3DArray, ObjectHypothesisWithPose

    from seqpose_ros.bags.replay import private_ros_environment

    for name, value in private_ros_environment().items():
        monkeypatch.setenv(name, value)
    context = Context()
    rclpy.init(context=context)
    node = Node("publisher", context=context)
    publisher = node.create_publisher(Detection3DArray, "/seqpose_node/detections", 10)
    result = ObjectHypothesisWithPose()
    result.hypothesis.class_id, result.hypothesis.score = "mug", 0.75
    result.pose.pose.position.z = 0.6
    message = Detection3DArray(detections=[Detection3D(id="7", results=[result])])
    command = [sys.executable, str(ROOT / "examples" / "ros_subscriber.py"), "--count", "1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ}) as process:
        try:
            while process.poll() is None:
                publisher.publish(message)
                try:
                    process.wait(0.2)
                except subprocess.TimeoutExpired:
                    continue
            assert process.stdout is not None
            assert "mug 0.75 track 7 at (+0.000, +0.000, +0.600) m" in process.stdout.read()
        finally:
            process.kill()
            node.destroy_node()
            context.shutdown()
