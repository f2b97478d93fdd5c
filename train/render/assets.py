# SPDX-License-Identifier: Apache-2.0
"""``python -m train.render.assets``: download HDR environments for the renderer; optional, needs npm and OpenEXR.

    python -m train.render.assets --out out/assets
    python -m train.render --assets out/assets ...

The npm package ``@pmndrs/assets`` (CC0-1.0) holds 18 HDR photographs of Poly Haven (CC0), 512x256, EXR in base64.
They are stored as one safetensors file of float16 panoramas (256, 512, 3), the sky in the first row.
"""

from __future__ import annotations

import base64
import re
import subprocess
import tarfile
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from seqpose_core.command_line import command_parser
from train.render.environments import ASSET_FILE, PHOTOGRAPHS

PACKAGE = "@pmndrs/assets@1.7.0"
_DATA = re.compile(rb"base64,([A-Za-z0-9+/=]+)")


def decode_exr(path: Path) -> NDArray[np.float16]:
    """Pixels (H, W, 3) of an EXR file."""
    try:
        import OpenEXR
    except ImportError as error:
        raise RuntimeError("reading EXR files needs the package OpenEXR: pip install OpenEXR") from error
    with OpenEXR.File(str(path)) as file:
        return np.asarray(file.channels()["RGB"].pixels, dtype=np.float16)


def unpack(archive: Path) -> dict[str, NDArray[np.float16]]:
    """The panoramas in the archive of the package, by name.

    :raises ValueError: an environment of the pools is missing.
    """
    panoramas: dict[str, NDArray[np.float16]] = {}
    with tarfile.open(archive) as package, tempfile.TemporaryDirectory() as folder:
        for pool in PHOTOGRAPHS.values():
            for name in pool:
                try:
                    member = package.extractfile(f"package/hdri/{name}.exr.js")
                except KeyError:
                    member = None
                found = _DATA.search(member.read()) if member else None
                if found is None:
                    raise ValueError(f"{archive} holds no environment {name!r}; expected {PACKAGE}")
                path = Path(folder) / f"{name}.exr"
                path.write_bytes(base64.b64decode(found[1]))
                panoramas[name] = decode_exr(path)
    return panoramas


def main(arguments: list[str] | None = None) -> None:
    parser = command_parser(__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder of the assets")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["npm", "pack", "--silent", PACKAGE, "--pack-destination", folder], check=True)
        archive = next(Path(folder).glob("*.tgz"))
        panoramas = unpack(archive)
    options.out.mkdir(parents=True, exist_ok=True)
    save_file(panoramas, options.out / ASSET_FILE)
    print(f"{len(panoramas)} environments in {options.out / ASSET_FILE}")


if __name__ == "__main__":
    main()
