# SPDX-License-Identifier: Apache-2.0
"""The report of an evaluation: figures, curves, frames and faults on one page. matplotlib is imported when drawing."""

from seqpose_core.metrics.run import Run, frame_key
from seqpose_core.report.views import Frames, View, no_images
from seqpose_core.report.write import write_report

__all__ = ["Frames", "Run", "View", "frame_key", "no_images", "write_report"]
