# SPDX-License-Identifier: Apache-2.0
"""Checkpoints: folders with ``model.safetensors`` and ``config.yaml``. No pickle is loaded."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from seqpose_core import weights
from seqpose_core.config_io import nearest
from seqpose_core.model.config import SeqPoseConfig
from seqpose_core.model.limits import check_limits
from seqpose_core.runtime.engine import move_to
from seqpose_core.weights import CheckpointError

if TYPE_CHECKING:  # torch takes seconds to import; names and configurations are read without it
    import torch

    from seqpose_core.model.seqpose import SeqPose

WEIGHTS, CONFIG = "model.safetensors", "config.yaml"
_BUNDLED = Path(__file__).parent / "checkpoints"
#: Former names of bundled checkpoints, and the checkpoints of comparable speed that replaced them.
_REPLACED = {"seqpose-nano": "seqpose-lite"}


def bundled_names() -> tuple[str, ...]:
    """Names of the checkpoints installed with this package."""
    return tuple(sorted(p.parent.name for p in _BUNDLED.glob(f"*/{WEIGHTS}")))


def resolve(name_or_path: str | Path, allow_download: bool = False) -> Path:
    """The folder of a checkpoint, given by bundled name, folder, ``.safetensors`` file or hub id.

    :param allow_download: whether a hub id (``owner/name``) may be downloaded; otherwise only a cached copy is used.
    :raises CheckpointError: if a file is missing; the message lists the bundled names.
    """
    path = Path(name_or_path).expanduser()
    bundled = _REPLACED.get(str(name_or_path), str(name_or_path))
    if bundled in bundled_names():
        path = _BUNDLED / bundled
    elif path.is_file() and path.suffix == ".safetensors":
        path = path.parent
    elif weights.is_hub_id(name_or_path):
        path = _from_hub(str(name_or_path), allow_download)
    for part in (WEIGHTS, CONFIG):
        if not (path / part).is_file():
            raise CheckpointError(
                f"checkpoint {str(name_or_path)!r}: {path / part} does not exist; give a bundled name, or a folder "
                f"with {WEIGHTS} and {CONFIG}. {nearest(str(name_or_path), bundled_names())}"
            )
    return path


def read_config(name_or_path: str | Path, allow_download: bool = False) -> SeqPoseConfig:
    """The configuration of a checkpoint or exported folder, without its weights.

    :raises CheckpointError: if the checkpoint does not exist.
    :raises seqpose_core.config_io.ConfigError: for an unknown key or a bad value.
    """
    exported = Path(name_or_path).expanduser()
    if (exported / "export.yaml").is_file():  # see seqpose_core.runtime.exported
        return SeqPoseConfig.from_yaml(exported / CONFIG)
    return SeqPoseConfig.from_yaml(resolve(name_or_path, allow_download) / CONFIG)


def load(name_or_path: str | Path, device: str = "cpu", allow_download: bool = False) -> SeqPose:
    """The model of a checkpoint, in evaluation mode. The encoder's pretrained weights are not needed.

    :raises CheckpointError: if it does not exist, is damaged, or its tensors do not match its configuration.
    :raises seqpose_core.runtime.engine.RuntimeUnavailableError: if torch cannot use the device here.
    """
    folder = resolve(name_or_path, allow_download)
    tensors = weights.read(folder / WEIGHTS)
    model = _build(SeqPoseConfig.from_yaml(folder / CONFIG), folder / CONFIG, sum(t.numel() for t in tensors.values()))
    weights.load_into(model, tensors, f"{folder / WEIGHTS} does not fit {CONFIG}")
    return move_to(model, device).eval()


def save(model: SeqPose, folder: str | Path, dtype: torch.dtype | None = None) -> Path:
    """Write weights and configuration into ``folder``, creating it if needed, and return it.

    :param dtype: of the stored weights, by default float32; ``torch.float16`` halves the file, loading converts back.
    """
    import torch
    from safetensors.torch import save_file

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {
        weights.published_name(name): tensor.detach().to("cpu", dtype or torch.float32).contiguous()
        for name, tensor in model.state_dict().items()
    }
    save_file(tensors, folder / WEIGHTS)
    (folder / CONFIG).write_text("# SPDX-License-Identifier: Apache-2.0\n" + model.config.to_yaml(), encoding="utf-8")
    # safetensors makes files that only their owner may read; the configuration has the user's usual permissions.
    (folder / WEIGHTS).chmod((folder / CONFIG).stat().st_mode & 0o777)
    return folder


def _build(config: SeqPoseConfig, path: Path, stored: int) -> SeqPose:
    """Build the network of a configuration, unless it is far larger than the number of ``stored`` weights."""
    import torch

    from seqpose_core.model.seqpose import SeqPose

    try:
        check_limits(config)
    except ValueError as error:
        raise CheckpointError(f"{path}: {error}") from error
    with torch.device("meta"):  # shapes only, no memory
        parameters = sum(p.numel() for p in SeqPose(config).parameters())
    if parameters > 10 * stored:
        raise CheckpointError(f"{path} describes {parameters} parameters, but {WEIGHTS} has only {stored}")
    return SeqPose(config)


def _from_hub(name: str, allow_download: bool) -> Path:
    folder = weights.from_hub(name, [WEIGHTS, CONFIG, "*.md"], allow_download)
    if folder is None:
        raise CheckpointError(
            f"checkpoint {name!r} is neither a bundled name nor a folder, and the hub model of that name is not in "
            f"the download cache; pass allow_download=True to download it. {nearest(name, bundled_names())}"
        )
    return folder
