# SPDX-License-Identifier: Apache-2.0
"""One slot, newest wins: inference always gets the latest frame, never a queue of old ones."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Mailbox(Generic[T]):
    """A slot for one item between the executor, which puts, and one worker thread, which takes."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._item: T | None = None
        self._closed = False

    def put(self, item: T) -> bool:
        """Leave an item for the worker. True if it displaced one that the worker had not taken yet."""
        with self._condition:
            displaced = self._item is not None
            self._item = item
            self._condition.notify()
        return displaced

    def take(self) -> T | None:
        """Wait for an item and take it. None once the mailbox is closed, whatever is still in it."""
        with self._condition:
            self._condition.wait_for(lambda: self._closed or self._item is not None)
            item, self._item = self._item, None
            return None if self._closed else item

    def close(self) -> None:
        """Wake the worker for good."""
        with self._condition:
            self._closed = True
            self._condition.notify_all()


class Worker(Generic[T]):
    """One thread that hands the newest item to ``work`` until it is stopped.

    ``work`` must not raise: whatever it raises ends the thread, as in any thread, and is seen in the log.
    """

    def __init__(self, work: Callable[[T], None], name: str) -> None:
        self.mailbox: Mailbox[T] = Mailbox()
        self._work = work
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Let the item in work finish, drop the one waiting, and end the thread."""
        self.mailbox.close()
        self._thread.join()

    def _run(self) -> None:
        while (item := self.mailbox.take()) is not None:
            self._work(item)
