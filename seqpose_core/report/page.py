# SPDX-License-Identifier: Apache-2.0
"""Render the sections of a report as one HTML page: style and pictures inline, no script, no external resource."""

from __future__ import annotations

import base64
import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from seqpose_core.categories import Category
from seqpose_core.evaluation import Evaluation
from seqpose_core.report.plots import Picture

if TYPE_CHECKING:
    from jinja2 import Environment

_PACKAGES = {"jinja2": "Jinja2", "matplotlib": "matplotlib"}


class MissingPackageError(ImportError, ValueError):
    """A package that reports need is not installed; the message names it and how to install it."""


@dataclass(frozen=True)
class Table:
    """A table whose first column has the names of the rows.

    :param head: cells of the first row. :param rows: name and cells of the others.
    :param main: names of the rows to highlight: means and sums.
    """

    caption: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    main: Sequence[str] = ()


@dataclass(frozen=True)
class Section:
    """One section of a report, rendered by ``templates/<anchor>.html``.

    :param values: the variables of the template. :param pictures: all pictures of the section.
    """

    anchor: str
    title: str
    values: Mapping[str, Any]
    pictures: Sequence[Picture] = field(default=())


def require_report_packages() -> None:
    """Check that the packages of the extra ``report`` are installed.

    :raises MissingPackageError: one is not.
    """
    for module, name in _PACKAGES.items():
        if importlib.util.find_spec(module) is None:
            raise MissingPackageError(f"a report needs {name}, which is not installed: pip install 'seqpose[report]'")


def render_page(evaluation: Evaluation, sections: Sequence[Section]) -> str:
    """The HTML of a report."""
    categories = next(iter(evaluation.runs.values())).categories
    environment = _environment(categories)
    bodies = [
        (section, environment.get_template(f"{section.anchor}.html").render(section.values)) for section in sections
    ]
    facts = {
        "measured on": evaluation.dataset,
        "frames": ", ".join(f"{len(run.results)} ({name})" for name, run in evaluation.runs.items()),
        **evaluation.facts,
    }
    return environment.get_template("page.html").render(title=evaluation.title, facts=facts, sections=bodies)


def _environment(categories: Sequence[Category]) -> Environment:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("seqpose_core.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["base64"] = lambda data: base64.b64encode(data).decode("ascii")
    environment.globals["colours"] = {c.name: "#{:02x}{:02x}{:02x}".format(*c.colour) for c in categories}
    return environment
