# SPDX-License-Identifier: Apache-2.0
"""Read weights from safetensors files or the hub, and load them into a network if all names and shapes match."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # torch takes seconds to import
    from torch import Tensor, nn

#: Names of DINOv2's attention projections in recent versions of transformers, and in published files.
_PUBLISHED = {
    "q_proj": "attention.query",
    "k_proj": "attention.key",
    "v_proj": "attention.value",
    "o_proj": "output.dense",
}
_DINOV2_ATTENTION = re.compile(r"((?:^|\.)encoder\.layer\.\d+\.attention\.)([qkvo]_proj)(?=\.)")
_HUB_ID = re.compile(r"\w[\w.-]*/\w[\w.-]*")


class CheckpointError(ValueError):
    """Weights are missing, incomplete or damaged, or do not fit the network."""


def published_name(name: str) -> str:
    """The name that a network's tensor has in files.

    transformers renamed the projections of DINOv2's attention but keeps the old names on disk. Files written here
    do the same, so that every version reads them.
    """
    return _DINOV2_ATTENTION.sub(lambda match: match[1] + _PUBLISHED[match[2]], name)


def read(path: Path) -> dict[str, Tensor]:
    """The tensors, by published name, of a ``.safetensors`` file or of the files in a ``.safetensors.index.json``.

    :raises CheckpointError: naming the file that is missing or damaged.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    files = [path]
    if path.suffix == ".json":
        try:
            shards = set(json.loads(path.read_text(encoding="utf-8"))["weight_map"].values())
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise CheckpointError(f"{path} is not an index of safetensors files: {error!r}") from error
        # Shards are in the folder of their index; a path to another folder is not followed.
        files = [path.with_name(Path(str(shard)).name) for shard in sorted(shards)]
    tensors: dict[str, Tensor] = {}
    for file in files:
        try:
            tensors |= {published_name(name): tensor for name, tensor in load_file(file).items()}
        except (SafetensorError, OSError) as error:
            raise CheckpointError(f"{file} is damaged or not a safetensors file: {error}") from error
    return tensors


def load_into(module: nn.Module, tensors: dict[str, Tensor], misfit: str) -> None:
    """Copy ``tensors`` (by published name) into ``module``. Copies nothing unless all names and shapes match.

    :param misfit: start of the error message, e.g. ``FILE does not fit CONFIG``.
    :raises CheckpointError: with the number and first names of missing, unknown, misshapen and non-finite tensors.
    """
    names = {published_name(name): name for name in module.state_dict()}
    expected = {known: module.state_dict()[name].shape for known, name in names.items()}
    shapes = [
        f"{k} is {tuple(tensors[k].shape)}, needs {tuple(expected[k])}"
        for k in sorted(expected.keys() & tensors.keys())
        if tensors[k].shape != expected[k]
    ]
    problems = [
        ("missing", sorted(expected.keys() - tensors.keys())),
        ("not known to this configuration", sorted(tensors.keys() - expected.keys())),
        ("of another shape", shapes),
    ]
    message = "; ".join(f"{len(keys)} tensors {what}: {', '.join(keys[:5])}" for what, keys in problems if keys)
    if message:
        raise CheckpointError(f"{misfit}: {message}")
    not_finite = [name for name in sorted(tensors) if not bool(tensors[name].isfinite().all())]
    if not_finite:
        raise CheckpointError(
            f"{misfit}: {len(not_finite)} tensors have NaN or infinite values: {', '.join(not_finite[:5])}"
        )
    module.load_state_dict({names[known]: tensor for known, tensor in tensors.items()})


def is_hub_id(name: str | Path) -> bool:
    """Whether ``name`` has the form ``owner/name`` and is not a local path."""
    return _HUB_ID.fullmatch(str(name)) is not None and not Path(name).exists()


def from_hub(name: str, files: Sequence[str], allow_download: bool) -> Path | None:
    """The folder of hub model ``name``; None if it is not in the download cache and downloading is not allowed.

    :param files: patterns of the files to download.
    :raises CheckpointError: if the download failed.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name, local_files_only=not allow_download, allow_patterns=list(files)))
    except (HfHubHTTPError, LocalEntryNotFoundError) as error:
        if not allow_download:
            return None
        raise CheckpointError(f"hub model {name!r} could not be downloaded: {error}") from error
