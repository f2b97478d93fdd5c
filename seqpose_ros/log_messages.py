# SPDX-License-Identifier: Apache-2.0
"""Log messages of the core library in the log of a node."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from typing import Any

_CORE = "seqpose_core"


class _NodeHandler(logging.Handler):
    def __init__(self, logger: Any) -> None:
        super().__init__(logging.INFO)
        self._logger = logger

    def emit(self, record: logging.LogRecord) -> None:
        # Two lines: rclpy raises if one source line logs with different severities.
        if record.levelno >= logging.WARNING:
            self._logger.warning(record.getMessage())
        else:
            self._logger.info(record.getMessage())


@contextlib.contextmanager
def core_messages_in(logger: Any) -> Iterator[None]:
    """Write messages of seqpose_core, level INFO and above, to the logger of a node."""
    core, handler = logging.getLogger(_CORE), _NodeHandler(logger)
    level = core.level
    core.addHandler(handler)
    core.setLevel(logging.INFO)
    try:
        yield
    finally:
        core.removeHandler(handler)
        core.setLevel(level)
