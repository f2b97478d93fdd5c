# SPDX-License-Identifier: Apache-2.0
"""Every installed runtime agrees with eager torch on the bundled frames, with memory and camera motion."""

from __future__ import annotations

import logging
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from runtime_rig import PACKAGES, assert_same_objects, moved_camera, require
from tiny import tiny_model

from seqpose_core import ObjectPose, PoseEstimator, threads
from seqpose_core.runtime import checked, choose, exported
from seqpose_core.runtime.engine import RuntimeUnavailableError
from seqpose_core.runtime.network import Network
from seqpose_core.samples import sample_frames
from seqpose_core.weights import CheckpointError

RUNTIMES = ["openvino", "onnx"]


def run_samples(estimator: PoseEstimator) -> list[list[ObjectPose]]:
    """Objects of five bundled frames, with camera poses that move 1 cm per frame."""
    results = []
    for index, (image, camera, stamp) in zip(range(5), sample_frames(), strict=False):
        results.append(estimator.step(image, camera, 1e9 + stamp, moved_camera(index)))
    return results


def assert_agree(first: list[list[ObjectPose]], second: list[list[ObjectPose]]) -> None:
    for one, other in zip(first, second, strict=True):
        assert_same_objects(one, other)


def as_exported_by_command(runtime: str, home: Path) -> tuple[Path, str]:
    """The bundled seqpose-lite, exported by a new process without other environment variables than HOME.

    :return: the folder, and the imported modules of the telemetry of OpenVINO as the process prints them.
    """
    program = f"""
import sys, seqpose_core.export
folder = {str(home / "exported")!r}
seqpose_core.export.main(["--checkpoint", "seqpose-lite", "--runtime", {runtime!r}, "--out", folder])
print([name for name, module in sys.modules.items() if "openvino_telemetry" in name and module is not None])
"""
    environment = {"HOME": str(home), "PATH": "", "PYTHONPATH": ":".join(sys.path)}
    command = [sys.executable, "-c", program]
    process = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    *_, report, telemetry = process.stdout.splitlines()
    assert report == f"{home / 'exported'}: agrees with eager torch on the bundled frames"
    return home / "exported", telemetry


@pytest.mark.slow
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_an_export_imports_no_telemetry_and_agrees_with_eager_on_real_frames(runtime: str, tmp_path: Path) -> None:
    require(runtime)
    folder, telemetry = as_exported_by_command(runtime, tmp_path)
    assert telemetry == "[]"
    assert not (tmp_path / "intel").exists(), "no client id is written"
    assert not list(tmp_path.glob("**/*openvino_ga*"))
    estimator = PoseEstimator.from_pretrained(folder)
    eager = PoseEstimator.from_pretrained("seqpose-lite", runtime="eager")
    assert_agree(run_samples(eager), run_samples(estimator))
    with pytest.raises(ValueError, match="was exported with memory_frames 3; it cannot be 1"):
        PoseEstimator.from_pretrained(folder, memory_frames=1)
    for other in ("eager", "compiled"):
        with pytest.raises(ValueError, match=f"was exported for runtime {runtime}; it cannot run {other}"):
            PoseEstimator.from_pretrained(folder, runtime=other)


@pytest.fixture(scope="module")
def exports(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Path], Path]:
    """Copies an export of the tiny model, which is made once per runtime, to a path; returns the path."""
    made: dict[str, Path] = {}

    def copy(runtime: str, folder: Path) -> Path:
        if runtime not in made:
            target = tmp_path_factory.mktemp("tiny") / runtime
            made[runtime] = exported.export(tiny_model(), runtime, target)  # type: ignore[arg-type]
        return Path(shutil.copytree(made[runtime], folder))

    return copy


@pytest.mark.slow
def test_an_export_that_differs_from_eager_is_refused(exports: Callable[..., Path], tmp_path: Path) -> None:
    require("openvino")
    folder = exports("openvino", tmp_path / "exported")
    recorded = exported.load_file(folder / exported.SAMPLE)
    recorded["1.translation"] += 0.01
    exported.save_file(recorded, folder / exported.SAMPLE)
    with pytest.raises(RuntimeUnavailableError, match=r"translation of frame 1 .* differs by 0\.01 from eager torch"):
        PoseEstimator.from_pretrained(folder)


@pytest.mark.slow
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_the_check_is_made_once_and_again_after_a_change(
    runtime: str, exports: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    require(runtime)
    folder = exports(runtime, tmp_path / "exported")
    checks = []
    check = exported.check_engine
    monkeypatch.setattr(exported, "check_engine", lambda *given: (checks.append(given[2]), check(*given)))
    exported.open_exported(folder, own=True)
    exported.open_exported(folder, own=True)  # a new engine: nothing refers to the first one
    assert len(checks) == 1
    for file in (folder / "checked").glob("*.blob"):
        file.write_bytes(file.read_bytes()[:1000])
        exported.open_exported(folder, own=True)
        assert len(checks) == 2
    monkeypatch.setattr(checked, "processor", lambda: "another processor")
    before = len(checks)
    exported.open_exported(folder, own=True)
    assert len(checks) == before + 1
    recorded = exported.load_file(folder / exported.SAMPLE)
    recorded["1.translation"] += 0.01
    exported.save_file(recorded, folder / exported.SAMPLE)
    with pytest.raises(RuntimeUnavailableError, match=r"translation of frame 1 .* differs by 0\.01 from eager torch"):
        exported.open_exported(folder, own=True)


@pytest.mark.slow
def test_a_folder_of_someone_else_is_always_checked_and_its_compiled_network_is_not_read(
    exports: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    require("openvino")
    folder = exports("openvino", tmp_path / "exported")
    exported.open_exported(folder, own=True)
    assert list((folder / "checked").glob("*.blob"))
    checks = []
    monkeypatch.setattr(exported, "check_engine", lambda *given: checks.append(given[2]))
    monkeypatch.setattr(exported, "read_record", lambda _: pytest.fail("the record is read"))
    for count in (1, 2):
        exported.open_exported(folder)
        assert len(checks) == count


@pytest.mark.slow
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_model_without_memory_agrees_with_eager(runtime: str, tmp_path: Path) -> None:
    require(runtime)
    model = tiny_model(memory_frames=0)
    exported.export(model, runtime, tmp_path / "exported")  # type: ignore[arg-type]
    estimator = PoseEstimator.from_pretrained(tmp_path / "exported", score_threshold=0.0)
    assert_agree(run_samples(PoseEstimator(model, score_threshold=0.0)), run_samples(estimator))


@pytest.mark.slow
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_an_export_whose_configuration_was_changed_is_refused(
    runtime: str, exports: Callable[..., Path], tmp_path: Path
) -> None:
    require(runtime)
    folder = exports(runtime, tmp_path / "exported")
    (folder / "config.yaml").write_text(tiny_model(memory_frames=0).config.to_yaml())
    with pytest.raises(CheckpointError, match="has 8 inputs; with 0 memory frames it must have 2: export the network"):
        PoseEstimator.from_pretrained(folder)


@pytest.mark.slow
def test_auto_runs_one_trial_and_keeps_its_outcome(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    require("openvino")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    model = Network.of_model(tiny_model())
    with caplog.at_level(logging.INFO):
        first = choose.choose_fastest(model, "cpu", "fp32")
        again = choose.choose_fastest(model, "cpu", "fp32")
    assert first == again
    assert [m for m in caplog.messages if "by a trial on this machine" in m and "eager" in m and " ms" in m]
    assert [m for m in caplog.messages if "by an earlier trial" in m]
    trials = [path.read_text() for path in (tmp_path / "seqpose" / "trials").iterdir()]
    assert sum("openvino" in text for text in trials) == 1


@pytest.mark.parametrize(
    ("milliseconds", "runtime"),
    [({"eager": 10.0, "openvino": 5.0}, "openvino"), ({"eager": 10.0, "openvino": 9.9}, "eager")],
    ids=["faster", "no faster"],
)
def test_auto_is_never_slower_than_eager(
    milliseconds: dict[str, float], runtime: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0.0]

    def engine(name: str) -> object:
        def run(_: object) -> None:
            clock[0] += milliseconds[name] / 1e3

        return run

    monkeypatch.setattr(choose.time, "perf_counter", lambda: clock[0])
    monkeypatch.setattr(choose, "recorded_step", lambda *_: None)
    trial = choose._run_trial({name: engine(name) for name in milliseconds}, {})  # type: ignore[misc]
    assert trial == choose.Trial(runtime, tuple(milliseconds), pytest.approx(tuple(milliseconds.values())))


@pytest.mark.parametrize(("runtime", "package"), [(name, PACKAGES[name]) for name in RUNTIMES])
def test_a_missing_package_is_reported_with_its_extra(
    runtime: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(RuntimeUnavailableError, match=rf"pip install 'seqpose\[{runtime}\]'"):
        PoseEstimator(tiny_model(), runtime=runtime)


def test_without_other_runtimes_auto_is_eager(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choose, "find_spec", lambda _: None)
    assert choose.choose_fastest(Network.of_model(tiny_model()), "cpu", "fp32") == "eager"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="not run: needs a CUDA device")
def test_cuda_agrees_with_the_cpu_also_from_two_threads() -> None:
    expected = run_samples(PoseEstimator.from_pretrained("seqpose-lite", runtime="eager"))
    estimators = [PoseEstimator.from_pretrained("seqpose-lite", device="cuda", runtime="eager") for _ in range(2)]
    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(run_samples, estimators))
    for result in results:
        for frame, other in zip(expected, result, strict=True):
            assert [o.category for o in frame] == [o.category for o in other]
            # Convolutions on CUDA use TF32, which has 10 bits of mantissa.
            for one, two in zip(frame, other, strict=True):
                np.testing.assert_allclose(two.translation, one.translation, atol=0.01)


@pytest.mark.parametrize("device", ["cuda:99", "tpu"])
def test_a_device_that_torch_cannot_use_is_named(device: str) -> None:
    with pytest.raises(RuntimeUnavailableError, match=f"device '{device}' cannot be used here"):
        PoseEstimator.from_pretrained("seqpose-lite", device=device)


def test_openvino_is_refused_on_a_gpu(exports: Callable[..., Path], tmp_path: Path) -> None:
    require("openvino")
    exports("openvino", tmp_path / "exported")
    with pytest.raises(RuntimeUnavailableError, match="runtime openvino runs on cpu; device is cuda"):
        exported.open_exported(tmp_path / "exported", "cuda")


@pytest.mark.slow
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_one_number_of_threads_holds_for_torch_and_the_engine(runtime: str) -> None:
    require(runtime)
    before = torch.get_num_threads()
    try:
        for count in (1, 2):
            threads.set_threads(count)
            engine = choose.build_engine(tiny_model(), runtime, "cpu", "fp32")
            assert engine.threads == count  # type: ignore[attr-defined]
    finally:
        threads.set_threads(before)
