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
from foreign_bag_rig import READ, as_mcap, assert_complete, content
from mcap_rig import McapFile
from rosbags.rosbag2 import StoragePlugin

from seqpose_ros.bags.bag import Bag
from seqpose_ros.bags.bounded_decompression import zstd
from seqpose_ros.bags.reader import BagError
from train.bag_messages import GROUND_TRUTH_TOPIC, IMAGE_TOPIC, INFO_TOPIC, typestore

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


# Several cameras, and older layouts of the ground truth.
