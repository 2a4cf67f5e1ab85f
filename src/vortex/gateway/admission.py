"""How many requests are at the engines at once, who waits, and who is sent away.

Two classes: people first, the user interface's own calls last. The limit may change at any time (the controller moves
it). Full queue: a person's request pushes out the youngest waiting user-interface call, else it gets 429 itself.
"""

from __future__ import annotations

import asyncio
from collections import deque

from vortex.errors import Overloaded


class Admission:
    def __init__(self, *, limit: int, max_queue: int, queue_timeout_s: float) -> None:
        self.limit = limit
        self.active = 0
        self._max_queue = max_queue
        self._timeout_s = queue_timeout_s
        self._waiting: tuple[deque[asyncio.Future[None]], deque[asyncio.Future[None]]] = (deque(), deque())

    @property
    def queued(self) -> int:
        return len(self._waiting[0]) + len(self._waiting[1])

    def set_limit(self, limit: int) -> None:
        self.limit = max(1, limit)
        self._admit()

    async def enter(self, *, low_priority: bool = False) -> None:
        """Returns when the request may go on; `leave` must follow. Raises Overloaded."""
        if self.active < self.limit and not self._waiting[0] and not (low_priority and self._waiting[1]):
            self.active += 1
            return
        if low_priority and self.queued * 2 >= self._max_queue:
            raise self._overloaded("busy: the user interface's own calls are shed first")
        if self.queued >= self._max_queue and not self._push_out():
            raise self._overloaded(f"busy: {self.queued} requests are waiting")
        await self._wait(self._waiting[1 if low_priority else 0])

    async def _wait(self, queue: deque[asyncio.Future[None]]) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        queue.append(turn)
        try:
            async with asyncio.timeout(self._timeout_s):
                await turn
        except BaseException as error:
            if turn in queue:
                queue.remove(turn)
            elif turn.done() and not turn.cancelled() and turn.exception() is None:
                self.leave()  # the turn came in the very moment of giving up
            if isinstance(error, TimeoutError):
                raise self._overloaded(f"busy: no turn within {self._timeout_s:g} s") from None
            raise

    def leave(self) -> None:
        self.active -= 1
        self._admit()

    def _admit(self) -> None:
        while self.active < self.limit:
            queue = self._waiting[0] or self._waiting[1]
            if not queue:
                return
            turn = queue.popleft()
            if not turn.done():
                self.active += 1
                turn.set_result(None)

    def _push_out(self) -> bool:
        if not self._waiting[1]:
            return False
        self._waiting[1].pop().set_exception(self._overloaded("busy: the user interface's own calls are shed first"))
        return True

    def _overloaded(self, message: str) -> Overloaded:
        return Overloaded(message, retry_after_s=max(1.0, min(self._timeout_s, 5.0)))
