# SPDX-License-Identifier: Apache-2.0
"""Fine-tune a bundled checkpoint on clips in the NOCS layout; without --data a few are rendered.

    python examples/finetune.py --steps 20 --out out/finetune

The result is a checkpoint folder: `PoseEstimator.from_pretrained("out/finetune/model")`. A useful fine-tuning takes
thousands of steps; see docs/training.md.
"""

import argparse
import subprocess
import sys
from pathlib import Path

import yaml

from seqpose_core import checkpoint


def main() -> None:
    parser = argparse.ArgumentParser(description="Fine-tune a bundled checkpoint.")
    parser.add_argument("--data", type=Path, help='folder with the splits "train" and "val" (default: rendered)')
    parser.add_argument("--checkpoint", default="seqpose-lite2")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--out", type=Path, default=Path("out/finetune"))
    options = parser.parse_args()

    data = options.data or options.out / "data"
    if options.data is None:
        for split, clips, seed in (("train", 4, 1), ("val", 1, 2)):
            render = ["--split", split, "--clips", clips, "--seed", seed, "--frames", 2, "--workers", 1, "--out", data]
            run("train.render", *render)

    network = yaml.safe_load((checkpoint.resolve(options.checkpoint) / "config.yaml").read_text())
    settings = {
        "model": network,
        "init_from": options.checkpoint,
        "data": {"root": str(data), "workers": 0},
        "optimizer": {"learning_rate": 1.0e-4, "warmup_steps": min(100, options.steps // 2)},
        "stages": [{"until_step": options.steps, "clip_length": 1, "batch_clips": 4}],
        "val_every": options.steps,
        "save_every": options.steps,
    }
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "train.yaml").write_text(yaml.safe_dump(settings))
    run("train.fit", "--config", options.out / "train.yaml", "--out", options.out / "run")
    run("train.export", options.out / "run", "--out", options.out / "model")
    print(f"the fine-tuned checkpoint is {options.out / 'model'}")


def run(module: str, *arguments: object) -> None:
    """Run a command of this project; if it fails, exit with an error."""
    subprocess.run([sys.executable, "-m", module, *map(str, arguments)], check=True)


if __name__ == "__main__":
    main()
