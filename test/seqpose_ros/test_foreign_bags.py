# SPDX-License-Identifier: Apache-2.0
"""Bags of other tools and recorders: topics that are not used do not prevent reading the others."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from bag_rig import FRAMES, rewrite, storage_file
from mcap_rig import McapFile
from rosbags.rosbag2 import StoragePlugin
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from seqpose_ros.bags.bag import Bag
from seqpose_ros.bags.bounded_decompression import zstd
from seqpose_ros.bags.reader import BagError, BagReader
from train.to_bag import GROUND_TRUTH_TOPIC, IMAGE_TOPIC, INFO_TOPIC, typestore

Connections = dict[str, tuple[str, str, list[tuple[int, bytes]]]]
READ = (IMAGE_TOPIC, INFO_TOPIC, GROUND_TRUTH_TOPIC)


def content(bag: Path) -> Connections:
    """Type, definition, and (time, bytes) of the messages of each topic."""
    with BagReader(bag) as reader:
        return {
            t.topic: (t.msgtype, t.channels[0][1].definition, [(time, raw) for _, time, raw in reader.messages([t])])
            for t in reader.connections
        }


def as_mcap(
    bag: Path,
    out: Path,
    profile: str = "ros2",
    extra: Callable[[McapFile], None] = lambda file: None,
    defined: tuple[str, ...] = READ,
    qos: str = "",
) -> Path:
    """The bag as one MCAP file.

    :param extra: adds channels before the others. :param defined: topics whose schema has a definition.
    """
    file = McapFile(profile)
    extra(file)
    rows = []
    for topic, (msgtype, definition, messages) in content(bag).items():
        if topic in READ:
            schema = file.schema(msgtype, definition if topic in defined else "", "ros2msg" if topic in defined else "")
            channel = file.channel(topic, schema, metadata=[("offered_qos_profiles", qos)])
            rows += [(time, channel, raw) for time, raw in messages]
    for time, channel, raw in sorted(rows):
        file.message(channel, time, raw)
    return file.write(out)


def assert_complete(bag: Path) -> None:
    with Bag(bag) as opened:
        frames = list(opened.frames())
        assert len(frames) == FRAMES and all(frame.ground_truth for frame in frames)
        assert not opened.skipped_frames and not opened.skipped_ground_truths


EMPTY_DEFINITION = ("demo/action/Go_FeedbackMessage", "", "ros2msg", "cdr")
SERVICE = ("demo/srv/Add", "int64 a\n---\nint64 sum\n", "ros2msg", "cdr")
ACTION = ("demo/action/Go", "int32 order\n---\nint32 sum\n---\nint32 step\n", "ros2msg", "cdr")
JSON = ("demo.State", '{"type": "object"}', "jsonschema", "json")
PROTOBUF = ("demo.State", b"\x0a\xff\xfe\x00", "protobuf", "protobuf")
SERVICE_EVENT = (
    "demo/srv/Add_Event",
    "service_msgs/ServiceEventInfo info\ndemo/Add_Request[<=1] request\n",
    "ros2msg",
    "cdr",
)
UNPARSABLE = ("demo/msg/Odd", "int32 = = ?\n", "ros2msg", "cdr")


@pytest.mark.parametrize(
    "unrelated", [EMPTY_DEFINITION, SERVICE, ACTION, JSON, PROTOBUF, SERVICE_EVENT, UNPARSABLE], ids=lambda u: u[0]
)
def test_an_unrelated_topic_is_ignored(unrelated: tuple[str, Any, str, str], bag_path: Path, tmp_path: Path) -> None:
    name, definition, encoding, message_encoding = unrelated

    def extra(file: McapFile) -> None:
        channel = file.channel("/unrelated", file.schema(name, definition, encoding), message_encoding)
        file.message(channel, 1_700_000_000 * 10**9, b"{}")

    assert_complete(as_mcap(bag_path, tmp_path / "bag.mcap", extra=extra))


@pytest.mark.parametrize("encoding", ["", "unknown", "jsonschema"])
def test_an_unrelated_definition_in_a_database_is_ignored(encoding: str, bag_path: Path, tmp_path: Path) -> None:
    bag = rewrite(bag_path, tmp_path / "bag", storage=StoragePlugin.SQLITE3)
    with sqlite3.connect(storage_file(bag)) as database:
        database.execute("INSERT INTO topics VALUES (99, '/odd', 'demo/msg/Odd', 'json', '- {depth: ?}', 'RIHS01_0')")
        database.execute("INSERT INTO message_definitions VALUES (99, 'demo/msg/Odd', ?, '', 'RIHS01_1')", (encoding,))
        database.execute("INSERT INTO messages VALUES (999, 99, 1, x'00')")
    assert_complete(bag)


def test_images_without_a_definition_are_read_if_camera_info_has_one(bag_path: Path, tmp_path: Path) -> None:
    assert_complete(as_mcap(bag_path, tmp_path / "bag.mcap", defined=(INFO_TOPIC,)))


def test_the_definition_in_the_bag_has_precedence(bag_path: Path, tmp_path: Path) -> None:
    """A CompressedImage with another order of fields, as a vendor's fork could have it."""
    store, definition = typestore(), "string format\nuint8[] data\nstd_msgs/Header header\n"
    messages = content(bag_path)
    file = McapFile()
    infos = file.channel(INFO_TOPIC, file.schema(messages[INFO_TOPIC][0], messages[INFO_TOPIC][1]))
    images = file.channel(IMAGE_TOPIC, file.schema("sensor_msgs/msg/CompressedImage", definition))
    file.message(infos, *messages[INFO_TOPIC][2][0])
    time, raw = messages[IMAGE_TOPIC][2][0]
    message = store.deserialize_cdr(raw, "sensor_msgs/msg/CompressedImage")
    header = bytes(store.serialize_cdr(message.header, "std_msgs/msg/Header"))[4:]
    body = bytearray(b"\0\1\0\0")
    for data in (message.format.encode() + b"\0", message.data.tobytes()):
        body += bytes(-len(body) % 4) + len(data).to_bytes(4, "little") + data
    body += bytes(-len(body) % 4) + header
    file.message(images, time, bytes(body))
    with Bag(file.write(tmp_path / "bag.mcap")) as bag, Bag(bag_path) as original:
        np.testing.assert_array_equal(next(bag.frames()).image, next(original.frames()).image)


@pytest.mark.parametrize("qos", ["- history: 1\n  depth: 10\n", "- {", "- history: keep_last\n  deadline: infinite\n"])
def test_qos_profiles_of_any_form_are_ignored(qos: str, bag_path: Path, tmp_path: Path) -> None:
    assert_complete(as_mcap(bag_path, tmp_path / "bag.mcap", qos=qos))


def edit_metadata(bag: Path, edit: Callable[[dict[str, Any]], None]) -> Path:
    path = bag / "metadata.yaml"
    metadata = yaml.safe_load(path.read_text())
    edit(metadata["rosbag2_bagfile_information"])
    path.write_text(yaml.safe_dump(metadata))
    return bag


def other_qos(metadata: dict[str, Any]) -> None:
    for topic in metadata["topics_with_message_count"]:
        topic["topic_metadata"]["offered_qos_profiles"] = "- history: 3\n  depth: 7\n"


def other_hashes(metadata: dict[str, Any]) -> None:
    for topic in metadata["topics_with_message_count"]:
        topic["topic_metadata"]["type_description_hash"] = "RIHS01_" + "0" * 64


def no_storage_identifier(metadata: dict[str, Any]) -> None:
    metadata["storage_identifier"] = ""


def newer_version(metadata: dict[str, Any]) -> None:
    metadata["version"] = 12


@pytest.mark.parametrize("edit", [other_qos, other_hashes, no_storage_identifier, newer_version])
@pytest.mark.parametrize("storage", [StoragePlugin.MCAP, StoragePlugin.SQLITE3])
def test_metadata_that_differs_from_the_file_is_ignored(
    edit: Callable[[dict[str, Any]], None], storage: StoragePlugin, bag_path: Path, tmp_path: Path
) -> None:
    assert_complete(edit_metadata(rewrite(bag_path, tmp_path / "bag", storage=storage), edit))


def test_damaged_metadata_is_reported_and_the_file_is_read(bag_path: Path, tmp_path: Path) -> None:
    bag = rewrite(bag_path, tmp_path / "bag")
    (bag / "metadata.yaml").write_text("rosbag2_bagfile_information: [")
    assert_complete(bag)
    with Bag(bag) as opened:
        (text,) = opened.damage
    assert text.startswith(f"{bag}/metadata.yaml cannot be read: ParserError")


def test_the_error_names_a_missing_file_that_metadata_lists(bag_path: Path, tmp_path: Path) -> None:
    bag = edit_metadata(rewrite(bag_path, tmp_path / "bag"), lambda m: m["relative_file_paths"].append("bag_1.mcap"))
    with pytest.raises(BagError, match=r"bag_1\.mcap is missing, but .*metadata\.yaml lists it; copy it"):
        Bag(bag)


def test_a_renamed_file_is_read_and_an_unlisted_one_is_reported(bag_path: Path, tmp_path: Path) -> None:
    bag = rewrite(bag_path, tmp_path / "bag")
    file = storage_file(bag)
    shutil.copy(file, bag / "old.mcap")
    with Bag(bag) as opened:
        assert opened.damage[0].startswith(f"{bag}/old.mcap is not read, because")
    file.unlink()
    assert_complete(bag)


@pytest.mark.parametrize("profile", ["", "other"])
def test_an_mcap_file_without_the_profile_of_ros2_is_read(profile: str, bag_path: Path, tmp_path: Path) -> None:
    assert_complete(as_mcap(bag_path, tmp_path / "bag.mcap", profile=profile))


def test_a_compressed_file_is_read_with_and_without_its_folder(bag_path: Path, tmp_path: Path) -> None:
    bag = rewrite(bag_path, tmp_path / "bag")
    file = storage_file(bag)
    packed = bag / f"{file.name}.zstd"
    data = file.read_bytes()
    half = len(data) // 2
    packed.write_bytes(zstd.compress(data))
    file.unlink()
    assert_complete(packed)
    assert_complete(bag)
    packed.write_bytes(zstd.compress(data[:half]) + zstd.compress(data[half:])[:-100])
    with Bag(packed) as opened:
        assert 0 < len(list(opened.frames())) < FRAMES
        assert opened.damage[0].startswith(f"{packed} is truncated or damaged")


def test_split_files_without_metadata_are_one_recording(bag_path: Path, tmp_path: Path) -> None:
    for index in range(2):
        part = rewrite(bag_path, tmp_path / f"part{index}", lambda t, n, m, half=index: m if n // 2 == half else None)
        (tmp_path / "bag").mkdir(exist_ok=True)
        shutil.copy(storage_file(part), tmp_path / "bag" / f"run_{index}.mcap")
    assert_complete(tmp_path / "bag")
    (tmp_path / "bag" / "run_1.mcap").rename(tmp_path / "bag" / "other.mcap")
    with pytest.raises(BagError, match=r"no metadata\.yaml and 2 files .*name one of them"):
        Bag(tmp_path / "bag")


def test_a_ros1_recording_in_any_file_gets_the_same_advice(bag_path: Path, tmp_path: Path) -> None:
    bag = tmp_path / "old.bag"
    bag.write_bytes(b"#ROSBAG V2.0\n")
    nameless = shutil.copy(bag, tmp_path / "old")
    (tmp_path / "folder").mkdir()
    shutil.copy(bag, tmp_path / "folder")
    mcap = as_mcap(bag_path, tmp_path / "ros1.mcap", profile="ros1")
    for path in (bag, nameless, tmp_path / "folder", mcap):
        with pytest.raises(BagError, match=r"is a ROS 1 .*make a ROS 2 bag of .*: rosbags-convert --src"):
            Bag(Path(path))


def test_the_error_names_a_requested_topic_with_another_encoding(bag_path: Path, tmp_path: Path) -> None:
    def json_image(file: McapFile) -> None:
        schema = file.schema("sensor_msgs/msg/Image", "{}", "jsonschema")
        file.message(file.channel("/json", schema, "json"), 1, b"{}")

    bag = as_mcap(bag_path, tmp_path / "bag.mcap", extra=json_image)
    with pytest.raises(BagError, match=f"/json of {bag} is encoded as json; only cdr"):
        Bag(bag, image_topic="/json")
    with Bag(bag, image_topic=IMAGE_TOPIC) as opened:
        assert len(list(opened.frames())) == FRAMES


# Rows of damaged or open databases.


def test_rows_in_the_write_ahead_log_are_read(bag_path: Path, tmp_path: Path) -> None:
    bag = rewrite(bag_path, tmp_path / "bag", storage=StoragePlugin.SQLITE3)
    file = storage_file(bag)
    database = sqlite3.connect(file)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA wal_autocheckpoint = 0")
    ((images,),) = database.execute("SELECT id FROM topics WHERE name = ?", (IMAGE_TOPIC,))
    rows = database.execute("SELECT * FROM messages WHERE topic_id = ?", (images,)).fetchall()
    database.execute("DELETE FROM messages WHERE topic_id = ?", (images,))
    database.commit()
    database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    database.executemany("INSERT INTO messages VALUES (?, ?, ?, ?)", rows)
    database.commit()
    killed = tmp_path / "killed"
    shutil.copytree(bag, killed)  # while the recorder has it open
    database.close()
    before = {path.name: path.read_bytes() for path in killed.iterdir()}
    assert any(name.endswith("-wal") and data for name, data in before.items())
    assert_complete(killed)
    assert {path.name: path.read_bytes() for path in killed.iterdir()} == before


def test_rows_that_metadata_lists_and_the_file_lacks_are_reported(bag_path: Path, tmp_path: Path) -> None:
    bag = rewrite(bag_path, tmp_path / "bag", storage=StoragePlugin.SQLITE3)
    with sqlite3.connect(storage_file(bag)) as database:
        database.execute(
            "DELETE FROM messages WHERE id = (SELECT MIN(m.id) FROM messages m JOIN topics t ON t.id = m.topic_id "
            "WHERE t.name = ?)",
            (IMAGE_TOPIC,),
        )
    with Bag(bag) as opened:
        assert len(list(opened.frames())) == FRAMES - 1
        assert opened.damage == [f"{bag} has {FRAMES - 1} of the {FRAMES} messages on {IMAGE_TOPIC} that it lists"]


@pytest.mark.parametrize(
    "damage",
    ["UPDATE messages SET data = NULL WHERE id = 1", "UPDATE messages SET timestamp = 'noon' WHERE id = 1"],
)
def test_rows_of_other_types_are_reported(damage: str, bag_path: Path, tmp_path: Path) -> None:
    bag = rewrite(bag_path, tmp_path / "bag", lambda t, n, m: m if t in READ else None, storage=StoragePlugin.SQLITE3)
    file = storage_file(bag)
    with sqlite3.connect(file) as database:
        schema = database.execute("SELECT sql FROM sqlite_master WHERE name = 'messages'").fetchone()[0]
        database.execute("ALTER TABLE messages RENAME TO old")
        database.execute(schema.replace("NOT NULL", ""))
        database.execute("INSERT INTO messages SELECT * FROM old")
        database.execute(damage)
    with Bag(bag) as opened:
        list(opened.frames())
        assert f"{file} has a message that is not read: row 1 has no time or no data" in opened.damage


def test_messages_without_a_topic_are_reported(bag_path: Path, tmp_path: Path) -> None:
    bag = rewrite(bag_path, tmp_path / "bag", storage=StoragePlugin.SQLITE3)
    with sqlite3.connect(storage_file(bag)) as database:
        database.execute("DELETE FROM topics WHERE name = ?", (GROUND_TRUTH_TOPIC,))
    with Bag(bag) as opened:
        assert (
            f"{storage_file(bag)} has {FRAMES} messages whose topic is not listed; they are not read" in opened.damage
        )


def test_two_channels_with_one_topic_are_read_as_one(bag_path: Path, tmp_path: Path) -> None:
    """As in a bag that was merged from two files."""
    file = McapFile()
    for topic in READ:
        msgtype, definition, messages = content(bag_path)[topic]
        for part in (0, 1):
            channel = file.channel(topic, file.schema(msgtype, definition))
            for time, raw in messages[part::2]:
                file.message(channel, time, raw)
    bag = file.write(tmp_path / "bag.mcap")
    assert_complete(bag)
    with Bag(bag) as opened:
        stamps = [frame.stamp for frame in opened.frames()]
        assert stamps == sorted(stamps)


def test_different_ground_truths_with_one_stamp_are_not_used(
    bag_path: Path, tmp_path: Path, evaluate: Callable[..., Any]
) -> None:
    def stamp_zero(topic: str, number: int, message: Any) -> Any:
        if topic != "/tf":
            message.header.stamp.sec = message.header.stamp.nanosec = 0
        return message

    status, _, report = evaluate(rewrite(bag_path, tmp_path / "bag", stamp_zero))
    assert status == 0 and report["frames_without_ground_truth"] == FRAMES
    reason = report["skipped"]["ground truth of stamp 0.000000000"]
    assert reason == f"{FRAMES} different messages have this stamp, so that none can be assigned to an image"


def test_equal_ground_truths_with_one_stamp_are_used_once(bag_path: Path, tmp_path: Path) -> None:
    file = McapFile()
    for topic, (msgtype, definition, messages) in content(bag_path).items():
        if topic in READ:
            channel = file.channel(topic, file.schema(msgtype, definition))
            for time, raw in messages:
                file.message(channel, time, raw)
                if topic == GROUND_TRUTH_TOPIC:
                    file.message(channel, time, raw)
    with Bag(file.write(tmp_path / "bag.mcap")) as bag:
        assert all(frame.ground_truth for frame in bag.frames()) and not bag.skipped_ground_truths
        assert bag.warnings[0] == "the ground truth of stamp 1700000000.000000000 is recorded 2 times"


# Several cameras, and older layouts of the ground truth.


def rgbd(bag: Path, out: Path, keep: tuple[str, ...]) -> Path:
    """An RGB-D camera: color and depth images, each with its camera_info; only the topics `keep` are written."""
    stored = content(bag)
    file = McapFile()
    rows = []
    for topic, source in (
        ("/camera/color/image_raw/compressed", IMAGE_TOPIC),
        ("/camera/color/camera_info", INFO_TOPIC),
        ("/camera/depth/image_rect_raw/compressed", IMAGE_TOPIC),
        ("/camera/depth/camera_info", INFO_TOPIC),
    ):
        if topic not in keep:
            continue
        msgtype, definition, messages = stored[source]
        channel = file.channel(topic, file.schema(msgtype, definition))
        for time, raw in messages:
            if topic == "/camera/depth/camera_info":
                info = typestore().deserialize_cdr(raw, msgtype)
                info.k = np.array([70.0, 0, 40, 0, 70, 30, 0, 0, 1])
                raw = bytes(typestore().serialize_cdr(info, msgtype))
            rows.append((time, channel, raw))
    for time, channel, raw in sorted(rows):
        file.message(channel, time, raw)
    return file.write(out)


COLOR = ("/camera/color/image_raw/compressed", "/camera/color/camera_info")
DEPTH = ("/camera/depth/image_rect_raw/compressed", "/camera/depth/camera_info")


def test_camera_info_comes_from_the_namespace_of_the_images(bag_path: Path, tmp_path: Path) -> None:
    bag = rgbd(bag_path, tmp_path / "bag.mcap", COLOR + DEPTH)
    with pytest.raises(BagError, match=f"{COLOR[0]}, {DEPTH[0]}; name one with --image-topic"):
        Bag(bag)
    for (image, info), focal in ((COLOR, 80.0), (DEPTH, 70.0)):
        with Bag(bag, image_topic=image) as opened:
            assert (opened.camera_info.topic, next(opened.frames()).camera.fx) == (info, focal)


def test_the_camera_info_of_another_image_is_not_used(bag_path: Path, tmp_path: Path) -> None:
    bag = rgbd(bag_path, tmp_path / "bag.mcap", (COLOR[0], *DEPTH))
    with pytest.raises(BagError, match=f"no camera_info for {COLOR[0]}; {DEPTH[1]} belongs to {DEPTH[0]}.*--camera"):
        Bag(bag, image_topic=COLOR[0])
    with Bag(bag, COLOR[0], DEPTH[1]) as opened:
        assert next(opened.frames()).camera.fx == 70.0


FOXY = """std_msgs/Header header
vision_msgs/Detection3D[] detections
================================================================================
MSG: vision_msgs/Detection3D
std_msgs/Header header
vision_msgs/ObjectHypothesisWithPose[] results
vision_msgs/BoundingBox3D bbox
bool is_tracking
string tracking_id
================================================================================
MSG: vision_msgs/ObjectHypothesisWithPose
string id
float64 score
geometry_msgs/PoseWithCovariance pose
================================================================================
MSG: vision_msgs/BoundingBox3D
geometry_msgs/Pose center
geometry_msgs/Vector3 size
"""


def older_ground_truth(bag: Path, out: Path, definition: str) -> Path:
    """The bag with ground truth in the layout of vision_msgs 2 (Foxy)."""
    types = {**typestore().fielddefs, **get_types_from_msg(definition, "vision_msgs/msg/Detection3DArray")}
    for name in ("ObjectHypothesis", "VisionClass", "LabelInfo"):
        types.pop(f"vision_msgs/msg/{name}")
    old = get_typestore(Stores.EMPTY)
    old.register(types)
    t = old.types
    file, rows = McapFile(), []
    for topic, (msgtype, text, messages) in content(bag).items():
        if topic not in READ:
            continue
        is_ground_truth = topic == GROUND_TRUTH_TOPIC
        channel = file.channel(topic, file.schema(msgtype, definition if is_ground_truth else text))
        for time, raw in messages:
            if is_ground_truth:
                message = typestore().deserialize_cdr(raw, msgtype)
                detections = [
                    t["vision_msgs/msg/Detection3D"](
                        header=d.header,
                        results=[
                            t["vision_msgs/msg/ObjectHypothesisWithPose"](
                                id=r.hypothesis.class_id, score=r.hypothesis.score, pose=r.pose
                            )
                            for r in d.results
                        ],
                        bbox=d.bbox,
                        is_tracking=True,
                        tracking_id=d.id,
                    )
                    for d in message.detections
                ]
                array = t["vision_msgs/msg/Detection3DArray"](header=message.header, detections=detections)
                raw = bytes(old.serialize_cdr(array, msgtype))
            rows.append((time, channel, raw))
    for time, channel, raw in sorted(rows):
        file.message(channel, time, raw)
    return file.write(out)


def test_ground_truth_in_the_layout_of_foxy_is_converted(bag_path: Path, tmp_path: Path) -> None:
    bag = older_ground_truth(bag_path, tmp_path / "bag.mcap", FOXY)
    with Bag(bag) as opened, Bag(bag_path) as original:
        for frame, expected in zip(opened.frames(), original.frames(), strict=True):
            ((mug,), (same,)) = frame.ground_truth or [], expected.ground_truth or []
            assert (mug.category, mug.track_id, mug.score) == ("mug", 1, 1.0)
            np.testing.assert_array_equal(mug.transform, same.transform)


def test_ground_truth_without_a_category_is_reported(bag_path: Path, tmp_path: Path) -> None:
    class_less = McapFile()
    for topic, (msgtype, definition, messages) in content(bag_path).items():
        if topic in READ:
            text = definition.replace("string class_id", "string label")
            channel = class_less.channel(topic, class_less.schema(msgtype, text))
            for time, raw in messages:
                class_less.message(channel, time, raw)
    with Bag(class_less.write(tmp_path / "other.mcap")) as bag:
        assert [frame.ground_truth for frame in bag.frames()] == [[]] * FRAMES
        assert len(bag.skipped_ground_truths) == FRAMES
        assert all("has no class_id or id" in reason for reason in bag.skipped_ground_truths.values())
