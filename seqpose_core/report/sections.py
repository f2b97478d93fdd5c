# SPDX-License-Identifier: Apache-2.0
"""What the sections of a report show; the text of each is in ``templates/<anchor>.html``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from seqpose_core.evaluation import Evaluation, ScoredRun, View
from seqpose_core.evaluation.scored_run import RADIUS
from seqpose_core.evaluation.tables import AP_HEAD, ERROR_HEAD, ap_rows, error_rows, number, stability_line
from seqpose_core.evaluation.views import short_name
from seqpose_core.metrics.ap_report import MEAN
from seqpose_core.report import cases, pictures
from seqpose_core.report.comparison import compared_frames, comparison_section
from seqpose_core.report.confusion import confusion_picture
from seqpose_core.report.coverage import LEVELS, coverage_pictures, run_coverage
from seqpose_core.report.curves import (
    PRECISION_RECALL_AT,
    ap_curves,
    categories_with_ground_truth,
    precision_recall_picture,
)
from seqpose_core.report.factors import FACTORS, factor_picture
from seqpose_core.report.page import Section, Table

_RADIUS_CM = round(100 * RADIUS)


def all_sections(evaluation: Evaluation) -> list[Section]:
    """The sections of a report in their order. The views are loaded once, for all of them."""
    runs = evaluation.runs
    shown = {name: pictures.spread(len(run.results)) for name, run in runs.items()}
    worst = {name: cases.worst_cases(run) for name, run in runs.items()}
    views = evaluation.load_views(_wanted_keys(runs, shown, worst))
    compared = [comparison_section(runs, views)] if len(runs) > 1 else []
    return [
        tables_section(evaluation),
        *compared,
        ap_curves_section(runs),
        precision_recall_section(runs),
        frames_section(runs, shown, views),
        confusion_section(runs),
        factors_section(runs),
        worst_cases_section(runs, worst, views),
        calibration_section(runs),
    ]


def _wanted_keys(
    runs: Mapping[str, ScoredRun], shown: Mapping[str, list[int]], worst: Mapping[str, list[cases.Case]]
) -> list[str]:
    """Keys of all frames that are shown, each once, in the order of the set."""
    common = compared_frames(runs) if len(runs) > 1 else []
    keys = {
        (frame, run.keys[frame])
        for name, run in runs.items()
        for frame in (*shown[name], *common, *(case.frame for case in worst[name]))
    }
    return list(dict.fromkeys(key for _, key in sorted(keys)))


def tables_section(evaluation: Evaluation) -> Section:
    """Average precision of each run and kind of IoU, recalls and errors, stability."""
    runs, dataset = evaluation.runs, evaluation.dataset
    ap_tables = [
        Table(
            f"{name}, IoU {kind}, {dataset}",
            ["AP %", *AP_HEAD],
            [[category, *cells] for category, cells in ap_rows(run.ap_reports[kind]).items()],
            [MEAN],
        )
        for kind in dict.fromkeys(kind for run in runs.values() for kind in run.ap_reports)
        for name, run in runs.items()
        if kind in run.ap_reports
    ]
    if evaluation.paper_rows:
        ap_tables.append(Table(f"From papers, {dataset}", ["AP %", *AP_HEAD, "IoU kind"], evaluation.paper_rows))
    first = {name: next(iter(run.ap_reports.values())) for name, run in runs.items()}
    missing = {name: [c for c in report.categories if not report.ground_truths[c]] for name, report in first.items()}
    values = {
        "ap_tables": ap_tables,
        "without_ground_truth": {name: categories for name, categories in missing.items() if categories},
        "without_predictions": [name for name, report in first.items() if not any(report.predictions.values())],
        "radius_cm": _RADIUS_CM,
        "error_tables": [
            Table(
                f"{name}, predictions with a score of at least {run.threshold}",
                ["recall %", *ERROR_HEAD],
                [[category, *cells] for category, cells in error_rows(run.errors).items()],
                ["all"],
            )
            for name, run in runs.items()
        ],
        "stability": {name: stability_line(run.stability) for name, run in runs.items() if run.stability},
        "no_stability": {name: run.no_stability for name, run in runs.items() if not run.stability},
    }
    return Section("tables", "Tables", values)


def ap_curves_section(runs: Mapping[str, ScoredRun]) -> Section:
    """Average precision against thresholds of IoU, rotation and translation."""
    reports = [(name, run, report) for name, run in runs.items() for report in run.ap_reports.values()]
    groups = [
        ap_curves(name, report, run.categories)
        for name, run, report in reports
        if categories_with_ground_truth(report, run.categories)
    ]
    without = [
        f"{name}, IoU {report.iou_kind}"
        for name, run, report in reports
        if not categories_with_ground_truth(report, run.categories)
    ]
    values = {"groups": groups, "without_ground_truth": without}
    return Section("ap-curves", "AP curves", values, [picture for group in groups for picture in group])


def precision_recall_section(runs: Mapping[str, ScoredRun]) -> Section:
    """Precision against recall at two columns of the paper."""
    drawn = [
        (name, run, report)
        for name, run in runs.items()
        for report in run.ap_reports.values()
        if categories_with_ground_truth(report, run.categories)
    ]
    groups = [
        [precision_recall_picture(name, report, run.categories, column) for name, run, report in drawn]
        for column in PRECISION_RECALL_AT
        if drawn
    ]
    values = {"columns": PRECISION_RECALL_AT, "groups": groups}
    return Section("precision-recall", "Precision and recall", values, [p for group in groups for p in group])


def frames_section(runs: Mapping[str, ScoredRun], shown: Mapping[str, list[int]], views: Mapping[str, View]) -> Section:
    """Frames evenly spaced through the set."""
    drawn = []
    for name, run in runs.items():
        available = [(frame, views[run.keys[frame]]) for frame in shown[name] if run.keys[frame] in views]
        images = [pictures.frame_picture(name, run, frame, view) for frame, view in available]
        drawn.append((name, images, len(shown[name]) - len(images)))
    values = {
        # One entry, as long as the runs have the same frames.
        "counts": sorted({(len(shown[name]), len(run.results), run.threshold) for name, run in runs.items()}),
        "runs": drawn,
    }
    return Section("frames", "Frames", values, [picture for _, images, _ in drawn for picture in images])


def confusion_section(runs: Mapping[str, ScoredRun]) -> Section:
    """Confusion matrices of the categories."""
    drawn = [confusion_picture(name, run.pairing.confusion(), run.category_names) for name, run in runs.items()]
    values = {"radius_cm": _RADIUS_CM, "min_score": next(iter(runs.values())).threshold, "pictures": drawn}
    return Section("confusion", "Confusion of categories", values, drawn)


def factors_section(runs: Mapping[str, ScoredRun]) -> Section:
    """Errors and recalls by distance, visibility and size."""
    has_ground_truth = any(run.errors.frame.size for run in runs.values())
    drawn = {factor.name: factor_picture(runs, factor) for factor in FACTORS} if has_ground_truth else {}
    known = [picture for picture in drawn.values() if picture is not None]
    values = {
        "has_ground_truth": has_ground_truth,
        "pictures": known,
        "unknown_factors": [name for name, picture in drawn.items() if picture is None],
    }
    return Section("factors", "Errors by distance, visibility and size", values, known)


def worst_cases_section(
    runs: Mapping[str, ScoredRun], worst: Mapping[str, Sequence[cases.Case]], views: Mapping[str, View]
) -> Section:
    """The worst cases of each run, as crops, or as text where there is no image."""
    shown = []
    for name, run in runs.items():
        drawn, rows = [], []
        for number_, case in enumerate(worst[name], 1):
            where = short_name(run.keys[case.frame])
            view = views.get(run.keys[case.frame])
            if view is None:
                rows.append([where, case.description])
            else:
                drawn.append(pictures.case_picture(name, number_, case, where, view))
        shown.append(
            {
                "name": name,
                "total": len(worst[name]),
                "pictures": drawn,
                "without_image": rows,
                "table": Table(f"{name}, cases without an image", ["frame", "error"], rows),
            }
        )
    values = {"count": cases.CASES_SHOWN, "runs": shown}
    return Section("worst-cases", "Worst cases", values, [p for run in shown for p in run["pictures"]])  # type: ignore[attr-defined]


def calibration_section(runs: Mapping[str, ScoredRun]) -> Section:
    """Coverage of the predicted confidence regions."""
    computed = {name: coverage for name, run in runs.items() if (coverage := run_coverage(run)) is not None}
    usable = {name: coverage for name, (coverage, _) in computed.items() if coverage.samples}
    drawn = coverage_pictures(usable) if usable else []
    levels = [LEVELS.index(level) for level in (0.68, 0.95)]
    groups = ("translation", "rotation")
    rows = [
        [
            name,
            *(number(100 * getattr(c, group)[k]) for group in groups for k in levels),
            str(c.samples),
            str(computed[name][1]),
            str(c.invalid),
        ]
        for name, c in usable.items()
    ]
    head = ["covered %", *(f"{g} {k} %" for g in groups for k in (68, 95))]
    head += ["pairs", "hidden mugs", "not positive definite"]
    values = {
        "radius_cm": _RADIUS_CM,
        "without_covariances": [name for name in runs if name not in computed],
        "unusable": [name for name in computed if name not in usable],
        "pictures": drawn,
        "table": Table("Coverage at 68 and 95 %", head, rows),
    }
    return Section("calibration", "Calibration of predicted uncertainty", values, drawn)
