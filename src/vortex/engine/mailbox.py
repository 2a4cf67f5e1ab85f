"""From the engine's thread to the event loops that wait for answers: cheap to put in, woken once per sweep.

A `Mailbox` carries one request's items. The engine puts items through its `Post`, which wakes each loop once per
delivery however many boxes got mail. Closing a box on the reader's side is how a request is cancelled.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import Iterable
from typing import Any, Generic, TypeVar

from vortex.errors import VortexError

Item = TypeVar("Item")


class _End:
    """The last thing in a box."""


class Mailbox(Generic[Item]):
    """Written by the engine's thread, read by one task of the loop that made it."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.is_abandoned = False
        self._items: deque[Item | VortexError | _End] = deque()
        self._arrived = asyncio.Event()

    def put(self, item: Item | VortexError | _End) -> None:
        """For `Post`: from any thread; does not wake the reader."""
        self._items.append(item)

    def wake(self) -> None:
        self._arrived.set()

    def abandon(self) -> None:
        """The reader is gone: the request behind this box ends by the next sweep."""
        self.is_abandoned = True

    def __aiter__(self) -> Mailbox[Item]:
        return self

    async def __anext__(self) -> Item:
        """The next item; raises the error that ended the request, or StopAsyncIteration at its end."""
        if self._items:  # a reader slower than the model still lets others run, and a cancellation reach it
            await asyncio.sleep(0)
        while not self._items:
            self._arrived.clear()
            await self._arrived.wait()
        item = self._items.popleft()
        if isinstance(item, _End):
            raise StopAsyncIteration
        if isinstance(item, VortexError):
            raise item
        return item


class Post:
    """The engine's side of all mailboxes. Belongs to one thread."""

    def __init__(self) -> None:
        self._with_mail: dict[Mailbox[Any], None] = {}

    def put(self, box: Mailbox[Item], items: Iterable[Item]) -> None:
        for item in items:
            box.put(item)
            self._with_mail[box] = None

    def end(self, box: Mailbox[Item], error: VortexError | None = None) -> None:
        """Nothing more comes, because of `error` where there is one."""
        box.put(error or _End())
        self._with_mail[box] = None

    def deliver(self) -> None:
        """Wake every loop whose boxes got something since the last delivery."""
        by_loop = defaultdict(list)
        for box in self._with_mail:
            by_loop[box.loop].append(box)
        self._with_mail.clear()
        for loop, boxes in by_loop.items():
            try:
                loop.call_soon_threadsafe(_wake, boxes)
            except RuntimeError:  # the loop is closed: nobody will ever read these
                for box in boxes:
                    box.abandon()


def _wake(boxes: Iterable[Mailbox[Any]]) -> None:
    for box in boxes:
        box.wake()
