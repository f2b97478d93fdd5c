# SPDX-License-Identifier: Apache-2.0
"""Reading weights from safetensors files and from the hub, and putting them into a network: all of them, or none."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

#: DINOv2's attention, as recent versions of transformers name it, to what it is called in published files.
_PUBLISHED = {
    "q_proj": "attention.query",
    "k_proj": "attention.key",
    "v_proj": "attention.value",
    "o_proj": "output.dense",
}
_DINOV2_ATTENTION = re.compile(r"((?:^|\.)encoder\.layer\.\d+\.attention\.)([qkvo]_proj)(?=\.)")
_HUB_ID = re.compile(r"\w[\w.-]*/\w[\w.-]*")


class CheckpointError(ValueError):
    """Weights are missing, incomplete, damaged, or do not fit the network that they are meant for."""


def published_name(name: str) -> str:
    """The name that a network's tensor has in files.

    transformers renamed the projections in DINOv2's attention over time and keeps the old names on disk; so do files
    written here, and any version reads them.
    """
    return _DINOV2_ATTENTION.sub(lambda match: match[1] + _PUBLISHED[match[2]], name)


def read(path: Path) -> dict[str, Tensor]:
    """The tensors, by published name, of a ``.safetensors`` file or of those that a ``.safetensors.index.json`` lists.

    :raises CheckpointError: naming the file that is absent or damaged.
    """
    files = [path]
    if path.suffix == ".json":
        try:
            shards = set(json.loads(path.read_text(encoding="utf-8"))["weight_map"].values())
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise CheckpointError(f"{path} is no index of safetensors files: {error!r}") from error
        # Shards lie beside their index; a name that leads elsewhere is not followed.
        files = [path.with_name(Path(str(shard)).name) for shard in sorted(shards)]
    tensors: dict[str, Tensor] = {}
    for file in files:
        try:
            tensors |= {published_name(name): tensor for name, tensor in load_file(file).items()}
        except (SafetensorError, OSError) as error:
            raise CheckpointError(f"{file} is damaged or no safetensors file: {error}") from error
    return tensors


def load_into(module: nn.Module, tensors: dict[str, Tensor], misfit: str) -> None:
    """Copy ``tensors`` (by published name) into ``module``: exactly its own, of exactly its shapes, or none at all.

    :param misfit: how the error begins, e.g. ``FILE does not fit CONFIG``.
    :raises CheckpointError: with count and first few names of the missing, unknown and misshaped tensors.
    """
    names = {published_name(name): name for name in module.state_dict()}
    wanted = {known: module.state_dict()[name].shape for known, name in names.items()}
    shapes = [
        f"{k} is {tuple(tensors[k].shape)}, needs {tuple(wanted[k])}"
        for k in sorted(wanted.keys() & tensors.keys())
        if tensors[k].shape != wanted[k]
    ]
    problems = [
        ("missing", sorted(wanted.keys() - tensors.keys())),
        ("not known to this configuration", sorted(tensors.keys() - wanted.keys())),
        ("of another shape", shapes),
    ]
    said = "; ".join(f"{len(keys)} tensors {what}: {', '.join(keys[:5])}" for what, keys in problems if keys)
    if said:
        raise CheckpointError(f"{misfit}: {said}")
    module.load_state_dict({names[known]: tensor for known, tensor in tensors.items()})


def is_hub_id(name: str | Path) -> bool:
    """Whether ``name`` reads as ``owner/name`` and no such path exists here."""
    return _HUB_ID.fullmatch(str(name)) is not None and not Path(name).exists()


def from_hub(name: str, files: Sequence[str], allow_download: bool) -> Path | None:
    """The folder of a downloaded copy of hub model ``name``; None if none is here and downloading is not allowed.

    :param files: patterns of the files to fetch.
    :raises CheckpointError: if a download was allowed and failed.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name, local_files_only=not allow_download, allow_patterns=list(files)))
    except (HfHubHTTPError, LocalEntryNotFoundError) as error:
        if not allow_download:
            return None
        raise CheckpointError(f"hub model {name!r} could not be downloaded: {error}") from error
