# SPDX-License-Identifier: Apache-2.0
"""Read metadata.yaml of a bag: the storage files, their compression and the number of messages."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path, PurePath

import yaml


@dataclass(frozen=True)
class Metadata:
    """Content of a metadata.yaml.

    :param files: names of the storage files.
    :param compressed_messages: whether each message is compressed as a Zstandard frame.
    :param counts: number of messages by topic.
    """

    files: tuple[str, ...]
    compressed_messages: bool = False
    counts: Counter[str] = field(default_factory=Counter)


def read_metadata(path: Path) -> Metadata:
    """Read a metadata.yaml.

    :raises ValueError: the file cannot be read, or it has another structure.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))["rosbag2_bagfile_information"]
        files = tuple(PurePath(str(name)).name for name in content["relative_file_paths"])
        mode = str(content.get("compression_mode") or "none").lower()
        compression = str(content.get("compression_format") or "")
        counts: Counter[str] = Counter()
        for topic in content.get("topics_with_message_count") or []:
            counts[str(topic["topic_metadata"]["name"])] += int(topic["message_count"])
    except (
        OSError,
        UnicodeError,
        yaml.YAMLError,
        KeyError,
        TypeError,
        AttributeError,
        ValueError,
        RecursionError,
    ) as e:
        text = " ".join(str(e).split())
        raise ValueError(f"{path} cannot be read: {type(e).__name__}: {text[:200]}") from e
    if mode == "message" and compression != "zstd":
        raise ValueError(f"{path} has the compression format {compression!r}; zstd is supported")
    return Metadata(files, mode == "message", counts)
