# SPDX-License-Identifier: Apache-2.0
"""The report of an evaluation: one HTML page with tables, curves, frames and errors.

It needs matplotlib and Jinja2 (``pip install 'seqpose[report]'``), which are imported when a report is written.
"""

from seqpose_core.report.write import write_report

__all__ = ["write_report"]
