# SPDX-License-Identifier: Apache-2.0
"""Records of exported networks that agree with eager torch on this machine, kept in the folder of the export.

A record is valid for one processor, version of the runtime, device and precision, and for the files that were checked.
The network as OpenVINO has compiled it is kept beside the record: loading it takes half the time of compiling.
"""

from __future__ import annotations

import hashlib
import logging
import os
import platform
import tempfile
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from seqpose_core import config_io

_LOG = logging.getLogger(__name__)
_FOLDER = "checked"
_PACKAGES = {"openvino": ("openvino",), "onnx": ("onnxruntime",), "tensorrt": ("onnxruntime-gpu", "onnxruntime")}


@dataclass(frozen=True)
class CheckRecord:
    """Where a check is recorded, and the files that it is valid for.

    :param path: of the record, without suffix. :param files: name, size and time of the files of the export.
    """

    path: Path
    files: str

    @classmethod
    def of(cls, folder: Path, runtime: str, device: str, precision: str) -> CheckRecord:
        """The record of an exported folder on this machine."""
        machine = (processor(), platform.machine(), _version(runtime), device)
        name = f"{runtime}-{precision}-{hashlib.sha256(repr(machine).encode()).hexdigest()[:12]}"
        stats = [(file.name, file.stat()) for file in sorted(folder.iterdir()) if file.is_file()]
        listed = [
            f"{name} {s.st_size} {s.st_mtime_ns}" for name, s in stats if name.startswith(("step", "sample", "con"))
        ]
        return cls(folder / _FOLDER / name, "; ".join(listed))


@dataclass(frozen=True)
class _Content:
    """Content of a record: the checked files, and the SHA-256 of the compiled network."""

    files: str
    compiled: str


def read_record(record: CheckRecord) -> bytes | None:
    """The compiled network of a passed check, empty if the runtime keeps none; None if there is no valid record."""
    path, blob = record.path.with_suffix(".yaml"), record.path.with_suffix(".blob")
    if not path.is_file():
        return None
    try:
        content = config_io.load_yaml(_Content, path)
        compiled = blob.read_bytes() if blob.is_file() else b""
    except (config_io.ConfigError, OSError) as error:
        _LOG.warning("%s cannot be read, the network is checked again: %s", path, error)
        return None
    if content != _Content(record.files, _digest(compiled)):
        _LOG.info("%s is of other files, the network is checked again", path)
        return None
    return compiled


def write_record(record: CheckRecord, compiled: bytes) -> None:
    """Record a passed check with the compiled network; without effect where the folder cannot be written."""
    try:
        record.path.parent.mkdir(exist_ok=True)
        if compiled:
            _write(record.path.with_suffix(".blob"), compiled)
        content = config_io.dump_yaml(_Content(record.files, _digest(compiled)))
        _write(record.path.with_suffix(".yaml"), content.encode())
    except OSError as error:
        _LOG.info("the check is not recorded and is repeated at each start: %s", error)


def processor() -> str:
    """The name of this machine's processor and its instruction sets."""
    info = Path("/proc/cpuinfo")
    if not info.is_file():
        return platform.processor()
    lines = info.read_text(errors="replace").split("\n\n")[0].splitlines()
    return "; ".join(line for line in lines if line.startswith(("model name", "flags", "Features", "CPU part")))


def _version(runtime: str) -> str:
    for package in _PACKAGES[runtime]:
        try:
            return metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return ""


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _write(path: Path, data: bytes) -> None:
    """Write a file that appears with all of its content."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
    os.replace(temporary, path)
