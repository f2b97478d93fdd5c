# SPDX-License-Identifier: Apache-2.0
"""Detect objects in a folder of unrelated images and write pictures with boxes and axes.

python examples/predict_images.py --out out/pictures                 # the bundled frames
python examples/predict_images.py photos/ --fov 70 --out out/pictures
"""

import argparse
from pathlib import Path

import seqpose_core
from seqpose_core import PoseEstimator
from seqpose_core.predict import predict

SAMPLES = Path(seqpose_core.__file__).parent / "sample_frames"


def main() -> None:
    parser = argparse.ArgumentParser(description="Detect objects in a folder of images.")
    parser.add_argument("folder", nargs="?", type=Path, default=SAMPLES, help="default: the bundled frames")
    parser.add_argument("--fov", type=float, default=50.0, help="horizontal field of view, degrees")
    parser.add_argument("--out", type=Path, default=Path("out/pictures"))
    options = parser.parse_args()

    # The images are unrelated, so the memory is reset before each of them.
    estimator = PoseEstimator.from_pretrained("seqpose-lite2", memory_frames=0)
    count = predict(estimator, options.folder, options.out, fov=options.fov, single=True)
    print(f"{count} pictures and poses.jsonl in {options.out}")


if __name__ == "__main__":
    main()
