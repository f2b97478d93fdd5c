# SPDX-License-Identifier: Apache-2.0
"""One HTML page that holds all it shows: style and pictures inline, no script, nothing asked from outside."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from html import escape

from seqpose_core.categories import CATEGORIES
from seqpose_core.report.plots import Picture

_STYLE = """
:root { color-scheme: light; }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 78rem; padding: 1rem; color: #222; background: #fff;
  font: 1rem/1.5 system-ui, "Segoe UI", Roboto, "Helvetica Neue", "DejaVu Sans", Arial, sans-serif; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: .5rem 0; }
h2 { font-size: 1.25rem; margin: 2.2rem 0 .4rem; padding-top: .5rem; border-top: 2px solid #ddd; }
h3 { font-size: 1.02rem; margin: 1.3rem 0 .3rem; }
p { margin: .4rem 0 .7rem; max-width: 52rem; }
p.rule { color: #555; font-size: .92rem; }
p.absent { padding: .5rem .8rem; background: #f5f3e7; border-left: 4px solid #c9b458; }
nav ul { display: flex; flex-wrap: wrap; gap: .2rem 1.1rem; padding: 0; list-style: none; font-size: .95rem; }
a { color: #0b57a4; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .15rem 1rem; margin: .8rem 0; }
dt { color: #555; }
dd { margin: 0; overflow-wrap: anywhere; }
.scroll { display: inline-block; vertical-align: top; overflow-x: auto; max-width: 100%; margin-right: 1.5rem; }
table { border-collapse: collapse; font-size: .86rem; font-variant-numeric: tabular-nums; margin: .3rem 0 .8rem; }
caption { text-align: left; color: #555; padding-bottom: .2rem; }
th, td { padding: .16rem .38rem; text-align: right; border-bottom: 1px solid #e8e8e8; white-space: nowrap; }
th { font-weight: 600; }
thead th { border-bottom: 2px solid #999; }
th:first-child, td:first-child { text-align: left; position: sticky; left: 0; background: #fff; font-weight: normal; }
tr.main th, tr.main td { font-weight: 700; background: #f3f3f3; }
tr.main th:first-child { font-weight: 700; background: #f3f3f3; }
.dot { display: inline-block; width: .7em; height: .7em; border-radius: 50%; margin: 0 .45em 0 .6em; }
.plots, .frames, .cases { display: grid; gap: .9rem 1rem; margin: .5rem 0 1rem; }
.plots { grid-template-columns: repeat(auto-fill, minmax(min(20rem, 100%), 1fr)); }
.frames { grid-template-columns: repeat(auto-fill, minmax(min(17rem, 100%), 1fr)); }
.cases { grid-template-columns: repeat(auto-fill, minmax(8.5rem, 1fr)); }
figure { margin: 0; break-inside: avoid; }
img { display: block; width: 100%; height: auto; }
.plots img { max-width: 34rem; }
figcaption { font-size: .84rem; line-height: 1.35; color: #333; padding-top: .25rem; overflow-wrap: anywhere; }
@media (max-width: 30rem) { body { padding: .7rem; } h1 { font-size: 1.35rem; } dl { grid-template-columns: 1fr; }
  dd { margin-bottom: .3rem; } th, td { padding: .16rem .33rem; } }
@media print { body { max-width: none; padding: 0; font-size: 9.5pt; } nav { display: none; } h2 { break-after: avoid; }
  h3 { break-after: avoid; } a { color: inherit; text-decoration: none; } .scroll { overflow: visible; }
  table { font-size: 7.5pt; break-inside: avoid; } th, td { padding: .1rem .35rem; }
  .plots, .frames { grid-template-columns: repeat(3, 1fr); } .cases { grid-template-columns: repeat(5, 1fr); }
  tr.main th, tr.main td, .dot, p.absent { print-color-adjust: exact; -webkit-print-color-adjust: exact; } }
"""
# Says so to the browser too: whatever the page held, it would load nothing.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
_COLOURS = {c.name: "#{:02x}{:02x}{:02x}".format(*c.colour) for c in CATEGORIES}


class Page:
    """A page under construction: sections with paragraphs, tables and pictures, in the order they are added.

    Text is plain text everywhere; it is escaped here.
    """

    def __init__(self, title: str) -> None:
        self.title = title
        self.pictures: dict[str, bytes] = {}
        self._sections: dict[str, str] = {}
        self._body: list[str] = []

    def facts(self, values: Mapping[str, str]) -> None:
        """Names and values below the title."""
        items = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in values.items())
        self._body.append(f"<dl>{items}</dl>")

    def section(self, anchor: str, title: str) -> None:
        """Begin a section; the navigation at the top leads to it."""
        self._sections[anchor] = title
        self._body.append(f'<h2 id="{escape(anchor)}">{escape(title)}</h2>')

    def heading(self, title: str) -> None:
        """A heading within a section."""
        self._body.append(f"<h3>{escape(title)}</h3>")

    def text(self, text: str) -> None:
        """A paragraph."""
        self._body.append(f"<p>{escape(text)}</p>")

    def rule(self, text: str) -> None:
        """A paragraph that says how something was measured or chosen."""
        self._body.append(f'<p class="rule">{escape(text)}</p>')

    def absent(self, text: str) -> None:
        """A paragraph in place of what cannot be shown, with the reason."""
        self._body.append(f'<p class="absent">{escape(text)}</p>')

    def table(self, head: Sequence[str], rows: Iterable[Sequence[str]], caption: str, main: Sequence[str] = ()) -> None:
        """A table whose first column names the rows, categories with their colour.

        :param main: names of the rows to set off: means and sums.
        """
        lines = []
        for name, *cells in rows:
            dot = f'<span class="dot" style="background:{_COLOURS[name]}"></span>' if name in _COLOURS else ""
            kind = ' class="main"' if name in main else ""
            columns = "".join(f"<td>{escape(cell)}</td>" for cell in cells)
            lines.append(f'<tr{kind}><th scope="row">{dot}{escape(name)}</th>{columns}</tr>')
        top = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in head)
        body = "\n".join(lines)
        self._body.append(
            f'<div class="scroll"><table><caption>{escape(caption)}</caption><thead><tr>{top}</tr></thead>'
            f"<tbody>\n{body}\n</tbody></table></div>"
        )

    def figures(self, pictures: Iterable[Picture], kind: str) -> None:
        """Pictures side by side as far as there is room. kind: "plots", "frames" or "cases"."""
        items = []
        for picture in pictures:
            self.pictures[picture.file] = picture.png
            data = base64.b64encode(picture.png).decode("ascii")
            caption = f"<figcaption>{escape(picture.caption)}</figcaption>" if picture.caption else ""
            image = f'<img alt="{escape(picture.alt)}" src="data:image/png;base64,{data}">'
            items.append(f"<figure>{image}{caption}</figure>")
        self._body.append(f'<div class="{kind}">\n' + "\n".join(items) + "\n</div>")

    def html(self) -> str:
        """The whole page."""
        links = "".join(f'<li><a href="#{escape(a)}">{escape(t)}</a></li>' for a, t in self._sections.items())
        title = escape(self.title)
        body = "\n".join(self._body)
        return (
            '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
            f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            f"<title>{title}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n"
            f'<nav aria-label="Sections"><ul>{links}</ul></nav>\n<main>\n{body}\n</main>\n</body>\n</html>\n'
        )
