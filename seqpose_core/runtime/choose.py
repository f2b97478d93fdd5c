# SPDX-License-Identifier: Apache-2.0
"""Build the engine of a runtime; ``auto`` selects the fastest one by a short trial on this machine."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import numpy as np

from seqpose_core import config_io, threads
from seqpose_core.model.config import SeqPoseConfig
from seqpose_core.runtime.cache import cache_root, open_cached
from seqpose_core.runtime.checked import processor
from seqpose_core.runtime.engine import Engine, RuntimeUnavailableError
from seqpose_core.runtime.exported import Format
from seqpose_core.runtime.network import Network
from seqpose_core.runtime.sample import record_sample, recorded_step

if TYPE_CHECKING:
    import torch

    from seqpose_core.model.seqpose import SeqPose

_LOG = logging.getLogger(__name__)
_CANDIDATES: tuple[Format, ...] = ("openvino", "onnx")
_PACKAGES = {"openvino": "openvino", "onnx": "onnxruntime"}
_WARM_UP, _REPEATS = 2, 11
#: Another runtime replaces eager only if it takes at most this fraction of its time.
_WORTHWHILE = 0.95


@dataclass(frozen=True)
class Trial:
    """The outcome of a trial.

    :param runtime: the one to use. :param compared: the runtimes that were timed.
    :param milliseconds: the median time of a step in each of them.
    """

    runtime: str
    compared: tuple[str, ...]
    milliseconds: tuple[float, ...]


def build_engine(model: SeqPose | Network, runtime: str, device: str | torch.device, precision: str) -> Engine:
    """Build the engine that runs a network.

    :param device: ``cpu``, or the name of another device of torch.
    :param runtime: ``default``, ``auto``, ``eager``, ``compiled``, ``openvino``, ``onnx`` or ``tensorrt``. ``default``
        is ``openvino`` for a :class:`Network` where it can be used, otherwise ``eager``, as for a model in memory.
    :raises RuntimeUnavailableError: if the runtime cannot run here, or its results differ from those of eager torch.
        ``default`` and ``auto`` leave such runtimes out.
    """
    device = str(device)
    if runtime == "default":
        return _build_default(model, device, precision)
    network = model if isinstance(model, Network) else Network.of_model(model)
    if runtime == "auto":
        runtime = choose_fastest(network, device, precision)
    if runtime in ("eager", "compiled"):
        engine = _build_torch(network.build(), device, precision, runtime == "compiled")
    else:
        form: Format = "openvino" if runtime == "openvino" else "onnx"
        engine = open_cached(network, form, device, precision, tensorrt=runtime == "tensorrt")
    _LOG.info("SeqPose runs %s in %s on %s", runtime, precision, device)
    return engine


def _build_torch(model: SeqPose, device: str, precision: str, compiled: bool = False) -> Engine:
    from seqpose_core.runtime.torch_engine import TorchEngine  # torch takes seconds to import

    return TorchEngine(model, device, precision, compiled)


def _build_default(model: SeqPose | Network, device: str, precision: str) -> Engine:
    """The engine of the runtime ``default``. Its choice is logged with the reason."""
    reason = _obstacle(device) if isinstance(model, Network) else "the model is in memory and may change"
    if reason is None:
        try:
            engine = build_engine(model, "openvino", device, precision)
        except RuntimeUnavailableError as error:
            _LOG.warning("runtime default: eager, because openvino cannot be used: %s", error)
        else:
            _LOG.info("runtime default: openvino, because it is installed")
            return engine
    else:
        _LOG.info("runtime default: eager, because %s", reason)
    return build_engine(model, "eager", device, precision)


def _obstacle(device: str) -> str | None:
    """Why OpenVINO is not the default runtime here; None if it is."""
    if device != "cpu":
        return f"the device is {device}"
    return None if "openvino" in installed_runtimes() else "OpenVINO is not installed"


def installed_runtimes() -> list[Format]:
    """The runtimes other than torch whose package is installed."""
    return [name for name in _CANDIDATES if find_spec(_PACKAGES[name]) is not None]


def choose_fastest(network: Network, device: str, precision: str) -> str:
    """Name of the fastest runtime whose results agree with those of eager torch.

    It is measured by a trial, whose outcome is kept in the user's cache.
    """
    installed = installed_runtimes()
    if device != "cpu" or not installed:
        reason = f"the device is {device}" if device != "cpu" else "no other runtime is installed"
        _LOG.info("runtime auto: eager, because %s", reason)
        return "eager"
    name = f"{_machine_digest(network.config, installed, precision)}.yaml"
    try:
        path: Path | None = cache_root() / "trials" / name
    except OSError as error:
        _LOG.warning("the outcome of the trial cannot be kept: %s", error)
        path = None
    if path is not None and path.is_file():
        try:
            trial = config_io.load_yaml(Trial, path)
        except (config_io.ConfigError, OSError) as error:
            _LOG.warning("the trial is repeated: %s", error)
        else:
            _LOG.info("runtime auto: %s, by an earlier trial (%s)", trial.runtime, _format_times(trial))
            return trial.runtime
    model = network.build()
    recorded = record_sample(model)
    engines: dict[str, Engine] = {"eager": _build_torch(model, device, precision)}
    for name in installed:
        try:
            engines[name] = open_cached(network, name, device, precision)
        except RuntimeUnavailableError as error:
            _LOG.warning("runtime auto: %s is left out: %s", name, error)
    trial = _run_trial(engines, recorded)
    _LOG.info("runtime auto: %s, by a trial on this machine (%s)", trial.runtime, _format_times(trial))
    if path is not None:
        _keep(trial, path)
    return trial.runtime


def _keep(trial: Trial, path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(config_io.dump_yaml(trial), encoding="utf-8")
    except OSError as error:
        _LOG.warning("the outcome of the trial cannot be kept: %s", error)


def _run_trial(engines: Mapping[str, Engine], recorded: Mapping[str, np.ndarray]) -> Trial:
    """Time the engines in turn, so that other load on the machine affects all of them."""
    step = recorded_step(recorded, 1)
    times: dict[str, list[float]] = {name: [] for name in engines}
    for _ in range(_WARM_UP + _REPEATS):
        for name, engine in engines.items():
            begin = time.perf_counter()
            engine(step)
            times[name].append(1e3 * (time.perf_counter() - begin))
    medians = {name: round(median(values[_WARM_UP:]), 3) for name, values in times.items()}
    best = min(medians, key=medians.__getitem__)
    runtime = best if medians[best] <= _WORTHWHILE * medians["eager"] else "eager"
    return Trial(runtime, tuple(medians), tuple(medians.values()))


def _format_times(trial: Trial) -> str:
    return ", ".join(f"{name} {value:g} ms" for name, value in zip(trial.compared, trial.milliseconds, strict=True))


def _machine_digest(config: SeqPoseConfig, installed: list[Format], precision: str) -> str:
    """A digest of all that affects the speed of the runtimes: processor, threads, packages and network."""
    versions = [str(getattr(__import__(_PACKAGES[name]), "__version__", "")) for name in installed]
    facts = (processor(), threads.get_threads(), installed, versions, precision, config.to_yaml())
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:20]
