# SPDX-License-Identifier: Apache-2.0
"""The user's cache of exported networks: written once per network, runtime and version, shared by processes."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import seqpose_core
from seqpose_core.config_io import ConfigError
from seqpose_core.runtime import onnx, openvino
from seqpose_core.runtime.engine import Engine, EngineMismatchError, RuntimeUnavailableError
from seqpose_core.runtime.exported import INFO, Format, export, is_exported, open_exported
from seqpose_core.runtime.network import Network
from seqpose_core.weights import CheckpointError

_LOG = logging.getLogger(__name__)
#: Exports that are kept; those used least recently are removed.
KEPT_EXPORTS = 8
_ABANDONED = 3600.0  # seconds after which an unfinished export is removed


def cache_root() -> Path:
    """$XDG_CACHE_HOME/seqpose, by default ~/.cache/seqpose.

    :raises FileNotFoundError: the user has no home folder, for example a user id that a container does not know.
    """
    folder = os.environ.get("XDG_CACHE_HOME")
    try:
        return Path(folder or Path.home() / ".cache") / "seqpose"
    except RuntimeError as error:
        raise FileNotFoundError("HOME is not set and the user has no home folder") from error


def open_cached(
    network: Network, runtime: Format, device: str, precision: str = "fp32", tensorrt: bool = False
) -> Engine:
    """The engine of a network's export in the cache, which is written on first use.

    A damaged export is written again. If the cache cannot be written, the export is temporary.

    :raises seqpose_core.runtime.engine.RuntimeUnavailableError: as :func:`~seqpose_core.runtime.exported.export` and
        :func:`~seqpose_core.runtime.exported.open_exported`.
    :raises seqpose_core.weights.CheckpointError: if the checkpoint is damaged.
    """
    try:
        folder = cache_root() / "exports" / f"{runtime}-{_digest(network, runtime)}"
        damaged = None
        if is_exported(folder):
            inode = folder.stat().st_ino
            try:
                engine = open_exported(folder, device, precision, tensorrt, own=True)
            except (CheckpointError, ConfigError, EngineMismatchError, OSError) as error:
                _LOG.warning("the cached export %s is damaged and is written again: %s", folder, error)
                damaged = inode
            else:
                with contextlib.suppress(OSError):  # the time of the last use
                    os.utime(folder / INFO)
                return engine
        _export_once(network, runtime, folder, damaged)
    except OSError as error:
        _LOG.warning(
            "the cache of exports cannot be written (%s): the network is exported at each start; set XDG_CACHE_HOME to "
            "a folder that can be written",
            error,
        )
        try:
            with tempfile.TemporaryDirectory(prefix="seqpose-") as temporary:
                exported = export(network.build(), runtime, Path(temporary) / runtime)
                return open_exported(exported, device, precision, tensorrt)
        except OSError as other:
            raise RuntimeUnavailableError(f"the network cannot be exported: {other}") from other
    return open_exported(folder, device, precision, tensorrt, own=True)


def _export_once(network: Network, runtime: Format, folder: Path, damaged: int | None) -> None:
    """Write an export unless another process has done it.

    :param damaged: inode of a folder that is damaged and is replaced.
    :raises OSError: if the folder cannot be written.
    """
    with _locked(folder.parent):
        if folder.exists() and (folder.stat().st_ino == damaged or not is_exported(folder)):
            shutil.rmtree(folder)
        if not folder.exists():
            _LOG.info("exporting the network for runtime %s to %s; this is done once", runtime, folder)
            export(network.build(), runtime, folder)
            _remove_old(folder.parent)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder, so that of several processes one exports and the others wait for it.

    :raises OSError: if the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / ".lock", "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _LOG.info("waiting for another process that exports a network")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _remove_old(folder: Path) -> None:
    """Remove all exports but the :data:`KEPT_EXPORTS` used last, and unfinished exports of processes that died."""
    exports = sorted(folder.glob(f"*/{INFO}"), key=lambda path: path.stat().st_mtime, reverse=True)
    old = [path.parent for path in exports[KEPT_EXPORTS:] if not path.parent.name.startswith(".")]
    old += [path for path in folder.glob(".*/") if time.time() - path.stat().st_mtime > _ABANDONED]
    for path in old:
        shutil.rmtree(path, ignore_errors=True)


def _digest(network: Network, runtime: Format) -> str:
    """A digest of all that an export depends on: weights, configuration, code and versions."""
    package = openvino.import_openvino() if runtime == "openvino" else onnx.import_onnxruntime()
    facts = (seqpose_core.__version__, package.__version__, network.config.to_yaml(), network.digest_weights())
    digest = hashlib.sha256(repr(facts).encode())
    for file in sorted((Path(__file__).parents[1] / "model").glob("*.py")):
        digest.update(file.read_bytes())
    return digest.hexdigest()[:20]
