# SPDX-License-Identifier: Apache-2.0
"""Write the report of an evaluation: one HTML file that holds everything, and its pictures beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from seqpose_core.categories import CATEGORY_NAMES
from seqpose_core.metrics import pairing
from seqpose_core.metrics.ap_report import MEAN
from seqpose_core.metrics.run import RADIUS, Run
from seqpose_core.report import cases, pictures
from seqpose_core.report.confusion import confusion_picture
from seqpose_core.report.curves import PRECISION_RECALL_AT, ap_curves, precision_recall, with_truth
from seqpose_core.report.factors import FACTORS, factor_picture
from seqpose_core.report.intervals import LEVELS, coverage_pictures, covered
from seqpose_core.report.page import Page
from seqpose_core.report.tables import AP_HEAD, ERROR_HEAD, ap_rows, error_rows, number, stability_line
from seqpose_core.report.views import Frames, View, no_images, short_name

HTML = "report.html"


def write_report(
    out: Path,
    title: str,
    measured_on: str,
    runs: Mapping[str, Run],
    frames: Frames = no_images,
    *,
    facts: Mapping[str, str] | None = None,
    published: Sequence[Sequence[str]] = (),
) -> Path:
    """Write OUT/report.html, which needs no other file, and its pictures as PNG files beside it.

    The same input gives the same bytes: no date, no time and no path of this machine is in it.

    :param out: a folder, made if need be; pictures of an earlier report with other runs are left in it.
    :param title: such as "SeqPose evaluation: seqpose-nano".
    :param measured_on: the data behind every figure, such as "synthetic renders, split test".
    :param runs: by name, such as "single" and "multi"; measured on the same frames.
    :param frames: gives image and camera of the frames to show, see :data:`seqpose_core.metrics.run.Frames`.
    :param facts: further names and values for the head, such as the checkpoint.
    :param published: rows of papers measured on the same data: method, the cells of :data:`tables.AP_HEAD`, kind of
        IoU.
    :return: the HTML file.
    :raises ValueError: no runs, a run without reports, or results that cannot be read (``ResultError``).
    """
    if not runs or not all(run.reports for run in runs.values()):
        raise ValueError("a report needs at least one run, and for each the reports of metrics.nocs.evaluate")
    page = Page(title)
    _head(page, measured_on, runs, facts or {}, published)
    _curves(page, runs)
    shown = {name: pictures.spread(len(run.results)) for name, run in runs.items()}
    worst = {name: cases.worst_cases(run) for name, run in runs.items()}
    views = frames(_wanted(runs, shown, worst))
    _frames(page, runs, shown, views)
    _confusion(page, runs)
    _factors(page, runs)
    _cases(page, runs, worst, views)
    _calibration(page, runs)
    out.mkdir(parents=True, exist_ok=True)
    for name, png in page.pictures.items():
        (out / name).write_bytes(png)
    path = out / HTML
    path.write_text(page.html(), encoding="utf-8")
    return path


def _wanted(
    runs: Mapping[str, Run], shown: Mapping[str, list[int]], worst: Mapping[str, list[cases.Case]]
) -> list[str]:
    """Keys of all frames that are shown, each once, in the order of the set."""
    keys = {
        (frame, run.keys[frame])
        for name, run in runs.items()
        for frame in (*shown[name], *(case.frame for case in worst[name]))
    }
    return list(dict.fromkeys(key for _, key in sorted(keys)))


def _head(
    page: Page,
    measured_on: str,
    runs: Mapping[str, Run],
    facts: Mapping[str, str],
    published: Sequence[Sequence[str]],
) -> None:
    page.facts(
        {
            "measured on": measured_on,
            "frames": ", ".join(f"{len(run.results)} ({name})" for name, run in runs.items()),
            **facts,
        }
    )
    page.section("tables", "Tables")
    kinds = list(dict.fromkeys(kind for run in runs.values() for kind in run.reports))
    page.rule(
        "Average precision in percent by 3D IoU and by pose error; figures of different kinds of IoU cannot be "
        "compared. The mean is over the categories that have truths."
    )
    for kind in kinds:
        for name, run in runs.items():
            if kind in run.reports:
                rows = [[category, *cells] for category, cells in ap_rows(run.reports[kind]).items()]
                page.table(["AP %", *AP_HEAD], rows, f"{name}, IoU {kind}, {measured_on}", [MEAN])
    if published:
        page.table(["AP %", *AP_HEAD, "IoU kind"], published, f"As published, {measured_on}")
    for name, run in runs.items():
        report = next(iter(run.reports.values()))
        without = [c for c in CATEGORY_NAMES if not report.truths[c]]
        if without:
            page.absent(f"{name}: there is no truth of {', '.join(without)}, so that nothing can be measured on it.")
        if not any(report.predictions.values()):
            page.absent(f"{name}: there is not one prediction; every truth is a miss.")
    page.heading("Recall and median errors")
    page.rule(
        f"Predictions are matched within their category, best score first, each to the nearest free truth within "
        f"{100 * RADIUS:.0f} cm. Recalls are over all truths, medians over the found."
    )
    for name, run in runs.items():
        rows = [[category, *cells] for category, cells in error_rows(run.detections).items()]
        caption = f"{name}, predictions of score {run.min_score:g} and more"
        page.table(["recall %", *ERROR_HEAD], rows, caption, ["all"])
    page.heading("Stability over time")
    for name, run in runs.items():
        if run.steadiness is None:
            page.absent(f"{name}: not measured, for the results do not form sequences with stamps and instances.")
        else:
            page.text(f"{name}: {stability_line(run.steadiness)}.")


def _curves(page: Page, runs: Mapping[str, Run]) -> None:
    page.section("ap-curves", "AP curves")
    page.rule(
        "Average precision against 3D IoU, rotation error (at any distance within 100 cm) and translation error (at "
        "any rotation). Kinds other than oriented leave poses out that overlap no truth above IoU 0.1."
    )
    measured = [(name, report) for name, run in runs.items() for report in run.reports.values()]
    drawn = [(name, report) for name, report in measured if with_truth(report)]
    for name, report in measured:
        if not with_truth(report):
            page.absent(f"{name}, IoU {report.iou_kind}: there are no truths, so that there are no curves.")
    for name, report in drawn:
        page.figures(ap_curves(name, report), "plots")
    page.section("precision-recall", "Precision and recall")
    page.rule(
        f"Predictions ranked by score over the whole set, at {' and '.join(PRECISION_RECALL_AT)}; the figure beside a "
        "category is its average precision in percent. A category without predictions has no line."
    )
    if not drawn:
        page.absent("There are no truths, so that there are no curves.")
    for column in PRECISION_RECALL_AT if drawn else ():
        page.figures([precision_recall(name, report, column) for name, report in drawn], "plots")


def _frames(page: Page, runs: Mapping[str, Run], shown: Mapping[str, list[int]], views: Mapping[str, View]) -> None:
    page.section("frames", "Frames")
    counts = {(len(shown[name]), len(run.results), run.min_score) for name, run in runs.items()}
    for few, whole, score in sorted(counts):  # one, as long as the runs have the same frames
        page.rule(pictures.FRAMES_RULE.format(shown=few, all=whole, score=score))
    for name, run in runs.items():
        found = [(frame, views[run.keys[frame]]) for frame in shown[name] if run.keys[frame] in views]
        if not found:
            page.absent(f"{name}: the images of the frames are not at hand, so that no frame can be shown.")
            continue
        if len(runs) > 1:
            page.heading(name)
        if len(found) < len(shown[name]):
            page.absent(f"The images of {len(shown[name]) - len(found)} of these frames are not at hand.")
        page.figures([pictures.frame_picture(name, run, frame, view) for frame, view in found], "frames")


def _confusion(page: Page, runs: Mapping[str, Run]) -> None:
    page.section("confusion", "Confusion of categories")
    page.rule(pairing.RULE.format(radius=100 * RADIUS, score=next(iter(runs.values())).min_score))
    page.rule("Rows: truths, and predictions without one. Columns: predictions, and truths without one.")
    page.figures([confusion_picture(name, run.pairing.confusion()) for name, run in runs.items()], "plots")


def _factors(page: Page, runs: Mapping[str, Run]) -> None:
    page.section("factors", "Errors by distance, visibility and size")
    page.rule(
        "Matched as for the recalls above. Dots are medians and bars quartiles of the errors of found objects; recall "
        "is over all truths of a bin, n of them. Symmetric objects, and mugs whose handle is hidden, are compared by "
        "their y axis."
    )
    if not any(run.detections.frame.size for run in runs.values()):
        page.absent("There are no truths, so that there is nothing to measure.")
        return
    drawn = {factor.name: factor_picture(runs, factor) for factor in FACTORS}
    page.figures([picture for picture in drawn.values() if picture is not None], "plots")
    for name, picture in drawn.items():
        if picture is None:
            page.absent(f"The results do not say the {name} of their truths (key gt_visible_pixels).")


def _cases(
    page: Page, runs: Mapping[str, Run], worst: Mapping[str, list[cases.Case]], views: Mapping[str, View]
) -> None:
    page.section("worst-cases", "Worst cases")
    page.rule(cases.RULE.format(count=24) + " Truth green with thin axes, prediction red.")
    for name, run in runs.items():
        if len(runs) > 1:
            page.heading(name)
        if not worst[name]:
            page.absent(f"{name}: nothing goes wrong by this rule.")
            continue
        found = [views.get(run.keys[case.frame]) for case in worst[name]]
        drawn = [
            pictures.case_picture(name, number_, case, short_name(run.keys[case.frame]), view)
            for number_, (case, view) in enumerate(zip(worst[name], found, strict=True), 1)
            if view is not None
        ]
        if drawn:
            page.figures(drawn, "cases")
        blind = [case for case, view in zip(worst[name], found, strict=True) if view is None]
        if blind:
            page.absent(f"The images of {len(blind)} of these {len(found)} cases are not at hand; in words:")
            rows = [[short_name(run.keys[case.frame]), case.words] for case in blind]
            page.table(["frame", "what is wrong"], rows, f"{name}, cases without an image")


def _calibration(page: Page, runs: Mapping[str, Run]) -> None:
    page.section("calibration", "Calibration of predicted uncertainty")
    page.rule(
        "Share of truths that lie within the region that a prediction's covariance claims to hold them with a given "
        "probability. Pairs as for the confusion, of one category; the turn about y of bottles, bowls and cans is left "
        "out, and so are mugs whose handle is hidden. Pairs are at most "
        f"{100 * RADIUS:.0f} cm apart, so that gross errors do not count here."
    )
    found = {name: measured for name, run in runs.items() if (measured := covered(run)) is not None}
    for name in runs:
        if name not in found:
            page.absent(f"{name}: predictions carry no covariances (key pred_covariances), or none met a truth.")
    usable = {name: coverage for name, (coverage, _) in found.items() if coverage.samples}
    for name in found:
        if name not in usable:
            page.absent(f"{name}: not one pair has a usable covariance.")
    if not usable:
        return
    page.figures(coverage_pictures(usable), "plots")
    at = [LEVELS.index(level) for level in (0.68, 0.95)]
    rows = [
        [
            name,
            *(number(100 * getattr(c, group)[k]) for group in ("translation", "rotation") for k in at),
            str(c.samples),
            str(found[name][1]),
            str(c.invalid),
        ]
        for name, c in usable.items()
    ]
    head = ["covered %", *(f"{g} {k} %" for g in ("translation", "rotation") for k in (68, 95))]
    page.table([*head, "pairs", "hidden mugs", "not positive definite"], rows, "The claims of 68 and 95 % in figures")
