# SPDX-License-Identifier: Apache-2.0
"""A checkpoint with its own categories in the messages and parameters of the node."""

from __future__ import annotations

from pathlib import Path

import pytest
from kettle_rig import KETTLE, detect_kettles, save_kettle_model
from rclpy.context import Context
from std_msgs.msg import Header

from seqpose_core import CATEGORIES
from seqpose_ros import parameters
from seqpose_ros.bags.replay import Recorder
from seqpose_ros.errors import InputError
from seqpose_ros.frame_names import FrameNamePool
from seqpose_ros.from_messages import objects_from_detections
from seqpose_ros.markers import MarkerArrayBuilder
from seqpose_ros.message_builders import DetectionsBuilder, ObjectFields, ObjectsBuilder, TransformsBuilder
from seqpose_ros.parameters import Settings

HEADER = Header(frame_id="camera")


@pytest.fixture(scope="module")
def seven(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_kettle_model(tmp_path_factory.mktemp("seven"))


def test_messages_have_the_id_symmetry_and_colour_of_the_category(seven: Path) -> None:
    objects = detect_kettles(seven)
    assert objects
    for message in ObjectsBuilder().message(HEADER, ObjectFields.of(objects)).objects:
        assert (message.category, message.category_id, message.symmetric) == ("kettle", 7, True)
    names = FrameNamePool().assign(objects, 0.0)
    assert TransformsBuilder().messages(HEADER, ObjectFields.of(objects), names)[0].child_frame_id == "kettle_1"
    colours = {
        tuple(round(255 * c) for c in (m.color.r, m.color.g, m.color.b))
        for m in MarkerArrayBuilder().message(HEADER, ObjectFields.of(objects), 1).markers
        if m.ns == "box"
    }
    assert colours == {(10, 20, 30)}


def test_detections_are_read_with_the_categories_of_the_checkpoint(seven: Path) -> None:
    detections = DetectionsBuilder().message(HEADER, ObjectFields.of(detect_kettles(seven))).detections
    assert {o.category_info for o in objects_from_detections(detections, (*CATEGORIES, KETTLE))} == {KETTLE}
    with pytest.raises(InputError, match="unknown category 'kettle'; known are bottle"):
        objects_from_detections(detections)


def test_the_categories_parameter_accepts_the_names_of_the_checkpoint(seven: Path) -> None:
    assert parameters.find_unknown_categories(Settings(checkpoint=str(seven), categories=("kettle", "mug"))) is None
    reason = parameters.find_unknown_categories(Settings(checkpoint="seqpose-lite2", categories=("kettle", "mug")))
    assert reason == "categories has unknown 'kettle'; known are bottle, bowl, camera, can, laptop, mug"


def test_a_recorded_replay_has_the_categories_of_the_checkpoint(seven: Path, private_domain: None) -> None:
    message = DetectionsBuilder().message(HEADER, ObjectFields.of(detect_kettles(seven)))
    context = Context()
    context.init()
    try:
        recorder = Recorder("/seqpose_node", context, (*CATEGORIES, KETTLE))
        recorder._on_detections(message, {"source_timestamp": 5})
        recorder.destroy_node()
    finally:
        context.shutdown()
    assert {o.category_info for o in recorder.recording.objects[0]} == {KETTLE}
    assert recorder.recording.latency == {0: 5e-9}
