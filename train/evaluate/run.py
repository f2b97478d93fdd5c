# SPDX-License-Identifier: Apache-2.0
"""Predict a data set or read result files, score them, and print, write and report the figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from seqpose_core import checkpoint
from seqpose_core.evaluation import Evaluation, ScoredRun, no_views, score_results
from seqpose_core.evaluation.figures import named_figures, write_json
from seqpose_core.evaluation.support import support_figures
from seqpose_core.evaluation.terminal import print_evaluation
from seqpose_core.metrics.results import ResultError
from seqpose_core.report import write_report
from train.evaluate.options import EvaluateOptions
from train.evaluate.paper_results import ROWS, paper_cells
from train.evaluate.predict import PredictionJob, predict, weights_digest
from train.evaluate.result_files import read_results, stored_results
from train.evaluate.sets import EvaluationSet, open_set, views_of_set
from train.evaluate.support import EXACT

_MODES = {
    "single": "single: memory is reset before each frame",
    "multi": "multi: memory is reset before each clip",
}


def evaluate(options: EvaluateOptions) -> Evaluation | None:
    """Predict, score, print and report; returns None for a shard, which is predicted but not scored.

    :raises ValueError: input that cannot be used. :raises OSError: a file that is missing or cannot be written.
    """
    if options.checkpoint is not None:
        categories = checkpoint.read_config(options.checkpoint).categories
        options = replace(options, scoring=replace(options.scoring, categories=categories))
    skipped: dict[str, str] = {}
    if options.results:
        dataset = options.dataset or f"results of {_subject(options)}"
        paths = {name: stored_results(folder) for name, folder in _methods(options.results).items()}
    else:
        dataset, paths, skipped = _predict(options)
        if options.shard[1] > 1:
            print(f"shard {options.shard[0]}/{options.shard[1]} is predicted; run without --shard to score all")
            return None
    evaluation = _score(paths, options, dataset, skipped)
    print_evaluation(evaluation)
    if options.report:
        print(f"\nreport written to {write_report(options.out / 'report', evaluation)}")
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / "metrics.json"
    write_json(
        path,
        {
            "data": dataset,
            "checkpoint": options.checkpoint,
            "ego_motion": options.ego_motion if options.checkpoint else None,
            "min_score": options.min_score if options.checkpoint else None,
            **_extra_inputs(options),
            "recall_score": options.scoring.recall_score,
            **named_figures(evaluation.runs),
            "support": {name: support_figures(run) for name, run in evaluation.runs.items()},
            "skipped": evaluation.skipped,
        },
    )
    print(f"\nwritten to {path}")
    return evaluation


def _predict(options: EvaluateOptions) -> tuple[str, dict[str, list[Path]], dict[str, str]]:
    """Name of the data set, result files by mode, and broken frames with the reason."""
    # One thread per process: the last bits of a sum must not depend on the number of cores.
    torch.set_num_threads(1)
    if options.checkpoint is None or options.data is None:
        raise ValueError("a checkpoint and a data set are needed to predict")
    opened = _open(options, options.data)
    dataset = opened.name
    for note in opened.layout.notes:
        print(f"{dataset}: {note}")
    if options.limit is not None:
        dataset = f"first {options.limit} clips of {dataset}"
    paths: dict[str, list[Path]] = {}
    skipped: dict[str, str] = {}
    for mode in dict.fromkeys(options.frames):
        name = mode + _run_suffix(options)
        job = PredictionJob(
            checkpoint=options.checkpoint,
            data=options.data,
            split=options.split,
            out=options.out / name,
            frames=mode,
            ego_motion=options.ego_motion,
            support_plane=options.support_plane,
            plane_noise=options.plane_noise,
            depth=options.depth,
            limit=options.limit,
            min_score=options.min_score,
            max_objects=options.max_objects,
            device=options.device,
            runtime=options.runtime,
            precision=options.precision,
            labels=options.labels,
        )
        paths[name], broken = predict(job, options.workers, options.shard)
        skipped.update(broken)
    return dataset, paths, skipped


def _score(
    paths: Mapping[str, Sequence[Path]], options: EvaluateOptions, dataset: str, skipped: Mapping[str, str]
) -> Evaluation:
    """Score the result files of each run."""
    runs, skipped = {}, dict(skipped)
    for name, files in paths.items():
        results, broken = read_results(files)
        skipped.update(broken)
        if not results:
            reasons = "; ".join(f"{file} ({reason})" for file, reason in list(skipped.items())[:5])
            raise ResultError(f"none of the {len(files)} result files of {name!r} can be used: {reasons}")
        runs[name] = score_results(results, options.scoring)
    check_same_frames(runs)
    subject = _subject(options)
    return Evaluation(
        subject=subject,
        dataset=dataset,
        runs=runs,
        facts=_facts(options, subject, list(runs), len(skipped)),
        paper_rows=paper_cells(ROWS.get(dataset, ())),  # only next to figures on the same data
        skipped=skipped,
        load_views=no_views if options.data is None else views_of_set(_open(options, options.data)),
    )


def _open(options: EvaluateOptions, root: Path) -> EvaluationSet:
    return open_set(root, options.split, options.labels, options.scoring.categories, options.out / "aligned")


def _methods(folders: Sequence[Path]) -> dict[str, Path]:
    """Folders of results by the name of their run: "results", or with several folders the name of each.

    :raises ValueError: if two folders have the same name.
    """
    if len(folders) == 1:
        return {"results": folders[0]}
    names = [folder.absolute().name for folder in folders]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"--results names two folders {name!r}; their names are the names of the methods")
    return dict(zip(names, folders, strict=True))


def check_same_frames(runs: Mapping[str, ScoredRun]) -> None:
    """Check that runs were measured on the same frames in the same order, by the classes of their ground truth.

    :raises ValueError: naming the first difference.
    """
    first, *others = runs.items()
    for name, run in others:
        if len(run.results) != len(first[1].results):
            raise ValueError(
                f"{first[0]} has results of {len(first[1].results)} frames and {name} of {len(run.results)}; they must "
                "be of the same frames"
            )
        for frame, (one, other) in enumerate(zip(first[1].results, run.results, strict=True)):
            classes = [sorted(np.asarray(result["gt_class_ids"]).tolist()) for result in (one, other)]
            if classes[0] != classes[1]:
                raise ValueError(
                    f"frame {frame} has ground truth of classes {classes[0]} in {first[0]} ({first[1].keys[frame]}) "
                    f"and {classes[1]} in {name} ({run.keys[frame]}); results must be of the same frames, in the same "
                    "order of file names"
                )


def _subject(options: EvaluateOptions) -> str:
    if options.results:
        return ", ".join(folder.absolute().name for folder in options.results)
    return Path(options.checkpoint or "").name


def _facts(options: EvaluateOptions, subject: str, runs: Sequence[str], skipped: int) -> dict[str, str]:
    """Facts about the runs for the head of a report."""
    if options.checkpoint is None:
        facts = {"results": subject}
    else:
        facts = {
            "checkpoint": subject,
            "weights": f"SHA-256 {weights_digest(options.checkpoint)}",
            "runs": "; ".join(_MODES[name.partition("+")[0]] for name in runs),
            **{name.replace("_", " "): str(value) for name, value in _extra_inputs(options).items()},
            "ego-motion": "recorded camera poses given" if options.ego_motion else "not given",
            "ranked": f"up to {options.max_objects} predictions per frame, score at least {options.min_score:g}",
        }
    if skipped:
        facts["skipped"] = f"{skipped} frames or files that cannot be read"
    return facts


def _extra_inputs(options: EvaluateOptions) -> dict[str, str | bool]:
    """Inputs of the estimator besides RGB images."""
    inputs: dict[str, str | bool] = {}
    if options.support_plane:
        inputs["support_plane"] = str(options.plane_noise)
    if options.depth:
        inputs["depth"] = True
    return inputs


def _run_suffix(options: EvaluateOptions) -> str:
    """Suffix of the names of runs with inputs besides RGB images, so that their figures are not confused."""
    noise = options.plane_noise
    simulated = "" if noise == EXACT else f"-{noise.centimetres:g}cm-{noise.degrees:g}deg"
    return (f"+plane{simulated}" if options.support_plane else "") + ("+depth" if options.depth else "")
