# SPDX-License-Identifier: Apache-2.0
"""``python -m train.new_category``: add one category to a checkpoint, from meshes.

    python -m train.new_category --meshes meshes/kettle --name kettle --out out/kettle

Renders the meshes in the renderer's scenes together with the other categories, extends the checkpoint by the category,
fine-tunes it, and compares it with the checkpoint on rendered validation clips. The result is OUT/checkpoint. The same
command resumes an interrupted run. See docs/new-category.md.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

import torch

from seqpose_core import config_io
from seqpose_core.command_line import command_parser
from seqpose_core.weights import CheckpointError
from train.command_line import check_at_least_one
from train.fit.config import load
from train.new_category.chain import NewCategory, run
from train.render.mesh_category import MeshCategory, find_meshes


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command; invalid input ends it with one message."""
    parser = command_parser(__doc__)
    parser.add_argument("--meshes", type=Path, required=True, help="folder of .obj, .ply, .stl, .off or .glb files")
    parser.add_argument("--name", required=True, help="of the category")
    parser.add_argument(
        "--symmetric", action="store_true", help="it looks the same under any rotation about its up axis"
    )
    parser.add_argument("--unit", type=float, default=1.0, help="metres per unit of the meshes (default: 1)")
    parser.add_argument("--up", choices=("x", "y", "z"), default="y", help="axis of the meshes that points up")
    parser.add_argument("--surfaces", nargs="+", default=list(MeshCategory.surfaces), help="what its parts are made of")
    parser.add_argument("--checkpoint", default="seqpose-lite2", help="bundled name or folder")
    parser.add_argument("--config", type=Path, default=Path("config/train/new_category.yaml"), help="training settings")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--clips", type=int, default=3000, help="rendered training clips (default: %(default)s)")
    parser.add_argument("--val-clips", type=int, default=100, help="rendered validation clips (default: %(default)s)")
    parser.add_argument("--frames", type=int, default=2, help="per clip (default: %(default)s)")
    parser.add_argument("--steps", type=int, help="training steps (default: as in the settings)")
    parser.add_argument(
        "--blend",
        type=float,
        default=NewCategory.blend,
        help="weight of the fine-tuned weights in the mean with those before, 0 to 1; a smaller one changes the other "
        "categories less (default: %(default)s)",
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--assets", type=Path, help="folder of HDR environments, written by train.render.assets")
    parser.add_argument("--workers", type=int, default=1, help="processes that render")
    parser.add_argument("--threads", type=int, help="CPU threads of torch")
    options = parser.parse_args(arguments)
    check_at_least_one(parser, options, "clips", "val_clips", "frames", "steps", "workers", "threads")
    if options.threads:
        torch.set_num_threads(options.threads)
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    try:
        shapes = MeshCategory(
            options.name,
            find_meshes(options.meshes),
            options.symmetric,
            options.unit,
            options.up,
            tuple(options.surfaces),
        )
        rows = run(
            NewCategory(
                shapes,
                options.checkpoint,
                load(options.config),
                options.out,
                options.steps,
                options.clips,
                options.val_clips,
                options.frames,
                options.seed,
                options.assets,
                options.workers,
                options.blend,
            )
        )
    except (ValueError, OSError, config_io.ConfigError, CheckpointError) as error:
        sys.exit(f"new_category: {error}")
    print("\nrecall, %      objects   10 cm: before  after   10°10cm: before  after")
    for name, count, before, after in rows:
        print(f"{name:12s} {count:9d} {before[0]:15.1f} {after[0]:6.1f} {before[1]:17.1f} {after[1]:6.1f}")
    print(f"\nwritten to {options.out / 'checkpoint'}")


if __name__ == "__main__":
    main()
