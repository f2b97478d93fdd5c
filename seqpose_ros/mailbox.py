# SPDX-License-Identifier: Apache-2.0
"""A one-slot mailbox between executor and worker thread: inference gets the newest image, never a queue."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Mailbox(Generic[T]):
    """A slot for one item. The executor puts items, one worker thread takes them."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._item: T | None = None
        self._closed = False

    def put(self, item: T) -> bool:
        """Put an item. Returns whether it replaced one that the worker had not taken."""
        with self._condition:
            replaced = self._item is not None
            self._item = item
            self._condition.notify_all()
        return replaced

    def wait_until_taken(self, timeout: float) -> None:
        """Wait until the slot is empty, at most ``timeout`` seconds."""
        with self._condition:
            self._condition.wait_for(lambda: self._closed or self._item is None, timeout)

    def take(self) -> T | None:
        """Wait for an item and take it. Returns None after :meth:`close`, even if an item is waiting."""
        with self._condition:
            self._condition.wait_for(lambda: self._closed or self._item is not None)
            item, self._item = self._item, None
            self._condition.notify_all()
            return None if self._closed else item

    def close(self) -> None:
        """Make :meth:`take` return None from now on."""
        with self._condition:
            self._closed = True
            self._condition.notify_all()


class Worker(Generic[T]):
    """A thread that calls ``work`` with the newest item until :meth:`stop`. ``work`` must not raise."""

    def __init__(self, work: Callable[[T], None], name: str) -> None:
        self.mailbox: Mailbox[T] = Mailbox()
        self._work = work
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Finish the current item, drop the waiting one, and end the thread."""
        self.mailbox.close()
        self._thread.join()

    def _run(self) -> None:
        while (item := self.mailbox.take()) is not None:
            self._work(item)
