# SPDX-License-Identifier: Apache-2.0
"""An int8 export is calibrated on training clips, and its encoder is quantized."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import pytest
from tiny import tiny_model

from seqpose_core import PoseEstimator, SeqPose
from seqpose_core.export import main
from seqpose_core.runtime import exported, int8
from seqpose_core.runtime.engine import RuntimeUnavailableError
from seqpose_core.samples import SAMPLE_CAMERA, sample_frames


@pytest.fixture(scope="module")
def model() -> SeqPose:
    return tiny_model()


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    """Two training clips of five frames, in the layout of train.render."""
    for clip in ("train/00000", "train/00001"):
        (tmp_path / clip).mkdir(parents=True)
        np.savetxt(tmp_path / clip / "intrinsics.txt", SAMPLE_CAMERA.matrix)
    for index, (image, _, _) in enumerate(sample_frames()):
        path = tmp_path / f"train/{index // 5:05d}/{index % 5:04d}_color.png"
        cv2.imwrite(str(path), cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    return tmp_path / "train"


def test_each_clip_starts_with_an_empty_memory(model: SeqPose, clips: Path) -> None:
    steps = list(int8.calibration_steps(model, clips))
    assert len(steps) == 10
    assert [bool(step.valid.any()) for step in steps] == [False, True, True, True, True] * 2
    assert steps[1].elapsed[0, 0] == pytest.approx(0.1)


def test_validation_and_test_splits_and_folders_without_clips_are_refused(model: SeqPose, tmp_path: Path) -> None:
    for name in ("val", "test"):
        (tmp_path / name).mkdir()
        with pytest.raises(ValueError, match="is a validation or test split; int8 is calibrated on training clips"):
            next(int8.calibration_steps(model, tmp_path / name))
    with pytest.raises(ValueError, match="has no clips"):
        next(int8.calibration_steps(model, tmp_path))


def test_int8_is_refused_in_onnx_and_without_clips(
    model: SeqPose, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(RuntimeUnavailableError, match="int8 is available in runtime openvino; runtime is onnx"):
        exported.export(model, "onnx", tmp_path / "out", calibration=tmp_path)
    with pytest.raises(SystemExit):
        main(["--runtime", "openvino", "--precision", "int8", "--out", str(tmp_path / "out")])
    assert "--precision int8 and --calibration FOLDER need each other" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.skipif(find_spec("nncf") is None or find_spec("openvino") is None, reason="nncf is not installed")
def test_the_encoder_of_an_int8_export_is_quantized_and_the_decoder_is_not(
    model: SeqPose, clips: Path, tmp_path: Path
) -> None:
    folder = exported.export(model, "openvino", tmp_path / "out", calibration=clips)
    assert exported.read_info(folder).precision == "int8"
    operations = int8.openvino.import_openvino().Core().read_model(folder / "step.xml").get_ordered_ops()
    quantized = [op for op in operations if op.get_type_name() == "FakeQuantize"]
    assert quantized
    targets = [i.get_node().get_friendly_name() for op in quantized for i in op.output(0).get_target_inputs()]
    assert all("model.encoder" in name for name in targets)
    assert PoseEstimator.from_pretrained(folder).runtime == "openvino"
