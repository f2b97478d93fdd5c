# SPDX-License-Identifier: Apache-2.0
"""``python -m train.evaluate``: evaluate a checkpoint, or result pickles of other methods, by the NOCS protocol.

    python -m train.evaluate --checkpoint seqpose-lite2 --data out/data --split test --frames single multi
    python -m train.evaluate --results FOLDER --iou original fixed oriented
    python -m train.evaluate --results OURS DMSR --data /data/nocs --split real_test --report --out out/compared

Predictions are written to OUT/single and OUT/multi, one pickle per frame; run it again with the same ``--out`` to
continue an interrupted run. With ``--shard I/N`` a process predicts every N-th clip only; run it once more without
``--shard`` to score all. ``--report`` also writes OUT/report/report.html with tables, curves, frames and errors.
Several runs, and several ``--results`` folders of methods on the same frames, are drawn in the same curves and their
boxes side by side.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from seqpose_core.command_line import command_parser
from train.evaluate.options import parse
from train.evaluate.run import evaluate


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command; invalid input ends it with one message."""
    options = parse(arguments, command_parser(__doc__))
    try:
        evaluate(options)
    except (ValueError, OSError) as error:
        sys.exit(f"evaluate: {error}")


if __name__ == "__main__":
    main()
