# SPDX-License-Identifier: Apache-2.0
"""Write the report of an evaluation: one HTML file that contains everything, and its pictures next to it."""

from __future__ import annotations

from pathlib import Path

from seqpose_core.evaluation import Evaluation
from seqpose_core.report.page import render_page, require_report_packages
from seqpose_core.report.sections import all_sections

HTML = "report.html"


def write_report(folder: Path, evaluation: Evaluation) -> Path:
    """Write FOLDER/report.html, which needs no other file, and its pictures as PNG files next to it.

    The same evaluation gives the same bytes: it contains no date, no time and no path of this machine.

    :param folder: created if needed; pictures of an earlier report with other runs are left in it.
    :return: the HTML file.
    :raises ValueError: no runs, a run without average precision, or results that cannot be read (``ResultError``).
    :raises MissingPackageError: matplotlib or Jinja2 is not installed.
    """
    require_report_packages()
    if not evaluation.runs or not all(run.ap_reports for run in evaluation.runs.values()):
        raise ValueError("a report needs at least one run, and for each the reports of metrics.nocs.evaluate")
    sections = all_sections(evaluation)
    folder.mkdir(parents=True, exist_ok=True)
    for section in sections:
        for picture in section.pictures:
            (folder / picture.file).write_bytes(picture.png)
    path = folder / HTML
    path.write_text(render_page(evaluation, sections), encoding="utf-8")
    return path
