# SPDX-License-Identifier: Apache-2.0
"""``python -m train.evaluate``: measure a checkpoint, or anyone's result pickles, by the NOCS protocol.

    python -m train.evaluate --checkpoint seqpose-nano --data out/data --split test --frames single multi
    python -m train.evaluate --results FOLDER --iou original fixed oriented

Predictions lie in OUT/single and OUT/multi, one pickle per frame; run it again with the same ``--out`` to go
on where it stopped. With ``--shard I/N`` a process does every N-th clip only; run it once more without, to
score all. With ``--report`` it also writes OUT/report/report.html, which holds tables, curves, frames and faults.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any

from seqpose_core.metrics.summary import without_nan
from train.evaluate.options import parse
from train.evaluate.result_files import stored_results
from train.evaluate.score import predict_and_score, score_results


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command; a refused input ends it with its message."""
    options = parse(arguments, (__doc__ or "").split("\n\n")[0])
    metrics: dict[str, Any] | None
    try:
        if options.results is not None:
            paths = stored_results(options.results)
            metrics = score_results(
                {"results": paths}, options, options.dataset or f"results of {options.results.name}", {}
            )
        else:
            metrics = predict_and_score(options)
    except (ValueError, OSError) as error:
        sys.exit(f"evaluate: {error}")
    if metrics is not None:
        options.out.mkdir(parents=True, exist_ok=True)
        path = options.out / "metrics.json"
        path.write_text(json.dumps(without_nan(metrics), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        print(f"\nwritten to {path}")


if __name__ == "__main__":
    main()
