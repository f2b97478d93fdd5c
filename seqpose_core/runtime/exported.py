# SPDX-License-Identifier: Apache-2.0
"""Exported folders: a network in the format of a runtime, its configuration, and results of eager torch to check it."""

from __future__ import annotations

import shutil
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from weakref import WeakValueDictionary

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

import seqpose_core
from seqpose_core import config_io, threads
from seqpose_core.model.config import SeqPoseConfig
from seqpose_core.runtime import onnx, openvino
from seqpose_core.runtime.checked import CheckRecord, read_record, write_record
from seqpose_core.runtime.engine import Engine, RuntimeUnavailableError
from seqpose_core.runtime.int8 import quantize
from seqpose_core.runtime.sample import check_engine, record_sample, recorded_step
from seqpose_core.weights import CheckpointError

if TYPE_CHECKING:
    from seqpose_core.model.seqpose import SeqPose

CONFIG, INFO, SAMPLE = "config.yaml", "export.yaml", "sample.safetensors"
Format = Literal["openvino", "onnx"]
_ExportedEngine = openvino.OpenVinoEngine | onnx.OnnxEngine
#: Engines of this process, by folder and arguments; streams share them.
_ENGINES: WeakValueDictionary[tuple[object, ...], _ExportedEngine] = WeakValueDictionary()
_LOCK = threading.Lock()
_FILES = {"openvino": (openvino.FILE, openvino.WEIGHTS), "onnx": (onnx.FILE,)}


@dataclass(frozen=True)
class ExportInfo:
    """Content of export.yaml.

    :param runtime: the format of the network. :param version: the version of seqpose that wrote the folder.
    :param outputs: names of the outputs in their order. :param precision: ``fp32``, or ``int8`` if it is quantized.
    """

    runtime: Format
    version: str
    outputs: tuple[str, ...]
    precision: Literal["fp32", "int8"] = "fp32"


def is_exported(folder: str | Path) -> bool:
    """Whether ``folder`` was written by :func:`export`."""
    return (Path(folder).expanduser() / INFO).is_file()


def read_info(folder: Path) -> ExportInfo:
    """Read export.yaml of a folder.

    :raises seqpose_core.config_io.ConfigError: for an unknown key or a bad value.
    """
    return config_io.load_yaml(ExportInfo, folder / INFO)


def export(model: SeqPose, runtime: Format, folder: str | Path, calibration: Path | None = None) -> Path:
    """Convert a model to the format of a runtime and write it into ``folder``, which is returned.

    An earlier export in the folder is replaced.

    :param calibration: training clips for int8, see :mod:`seqpose_core.runtime.int8`; None: float32.
    :raises RuntimeUnavailableError: if the runtime's package is missing.
    :raises FileExistsError: if the folder has other files. :raises OSError: if the folder cannot be written.
    :raises ValueError: if the clips cannot be used.
    """
    if calibration is not None and runtime != "openvino":
        raise RuntimeUnavailableError(f"int8 is available in runtime openvino; runtime is {runtime}")
    folder = Path(folder).expanduser()
    if folder.exists() and any(folder.iterdir()) and not is_exported(folder):
        raise FileExistsError(f"{folder} exists and is not an exported folder; choose another one")
    folder.parent.mkdir(parents=True, exist_ok=True)
    model = model.cpu().eval()
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        recorded = record_sample(model)
        try:
            save_file(recorded, temporary / SAMPLE)
        except SafetensorError as error:  # for example on a full disk
            raise OSError(f"{temporary / SAMPLE} cannot be written: {error}") from error
        convert = openvino.convert if runtime == "openvino" else onnx.convert
        outputs = convert(model, recorded_step(recorded, 1), temporary)
        if calibration is not None:
            quantize(model, calibration, temporary)
        (temporary / CONFIG).write_text(model.config.to_yaml(), encoding="utf-8")
        info = ExportInfo(runtime, seqpose_core.__version__, outputs, "fp32" if calibration is None else "int8")
        (temporary / INFO).write_text(config_io.dump_yaml(info), encoding="utf-8")
        temporary.chmod(0o755)
        if folder.exists():
            shutil.rmtree(folder)
        try:
            temporary.rename(folder)
        except OSError:  # another process wrote it at the same time
            if not is_exported(folder):
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder


def open_exported(
    folder: str | Path, device: str = "cpu", precision: str = "fp32", tensorrt: bool = False, own: bool = False
) -> Engine:
    """Load an exported folder.

    Its results on the bundled frames are compared with those of eager torch. An engine of this process that already
    runs this export with these arguments and number of threads is returned instead of a second one.

    :param own: whether this user's programs wrote the folder (the cache). The outcome of the comparison is then kept
        in it with the compiled network, see :mod:`~seqpose_core.runtime.checked`. From a folder that may come from
        someone else, neither is read: a compiled network is machine code.
    :raises RuntimeUnavailableError: if the runtime cannot run here, or its results differ from those of eager torch.
    :raises seqpose_core.weights.CheckpointError: if a file is missing or damaged.
    """
    folder = Path(folder).expanduser()
    info = read_info(folder)
    key = (folder.resolve(), folder.stat().st_ino, device, precision, tensorrt, own, threads.get_threads())
    with _LOCK:
        engine = _ENGINES.get(key)
        if engine is None:
            engine = _ENGINES[key] = _open(folder, info, device, precision, tensorrt, own)
    return engine


def _open(folder: Path, info: ExportInfo, device: str, precision: str, tensorrt: bool, own: bool) -> _ExportedEngine:
    config = SeqPoseConfig.from_yaml(folder / CONFIG)
    missing = [name for name in (SAMPLE, *_FILES[info.runtime]) if not (folder / name).is_file()]
    if missing:
        raise CheckpointError(f"{folder / missing[0]} is missing: export the network again")
    runtime = "tensorrt" if tensorrt else info.runtime
    precision = "int8" if info.precision == "int8" else precision
    record = CheckRecord.of(folder, runtime, device, precision) if own else None
    blob = None if record is None else read_record(record)
    engine: _ExportedEngine
    if info.runtime == "openvino":
        if device != "cpu":
            raise RuntimeUnavailableError(f"runtime openvino runs on cpu; device is {device}")
        try:
            engine = openvino.OpenVinoEngine(folder, config, info.outputs, precision, blob)
        except CheckpointError:
            if blob is None:
                raise
            blob = None  # the compiled network cannot be loaded: compile and check again
            engine = openvino.OpenVinoEngine(folder, config, info.outputs, precision)
    else:
        if precision != "fp32":
            raise RuntimeUnavailableError(f"runtime onnx runs in fp32; precision is {precision}")
        engine = onnx.OnnxEngine(folder, config, info.outputs, device, tensorrt)
    if blob is None:
        check_engine(engine, _read_sample(folder), runtime, precision)
        if record is not None:
            write_record(record, engine.compiled())
    return engine


def _read_sample(folder: Path) -> dict[str, np.ndarray]:
    try:
        return load_file(folder / SAMPLE)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{folder / SAMPLE} is missing or damaged: {error}") from error
