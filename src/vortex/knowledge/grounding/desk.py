"""Grounding for a server: on a thread of its own, opened when it is first needed, and never a reason for no answer.

Promises that a store which cannot be read is logged once and the question answered without it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from vortex.errors import VortexError
from vortex.knowledge.grounding.grounding import Grounded, Grounding
from vortex.knowledge.memory.entries import Entry
from vortex.knowledge.memory.folder import Memory
from vortex.knowledge.memory.requests import asked_to_remember
from vortex.types import ChatMessage

log = logging.getLogger(__name__)


class Desk:
    """open_grounding: called once, on the desk's thread. memory: where "remember that …" is written; None: nowhere."""

    def __init__(self, open_grounding: Callable[[], Grounding], memory: Memory | None = None) -> None:
        self._open = open_grounding
        self._memory = memory
        self._grounding: Grounding | None = None
        self._failed = False
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="vortex-knowledge")

    async def ground(self, messages: Sequence[ChatMessage], sources: Sequence[str] | None = None) -> Grounded:
        return await asyncio.get_running_loop().run_in_executor(self._worker, self._ground, messages, sources)

    async def remember_if_asked(self, messages: Sequence[ChatMessage], request_id: str) -> Entry | None:
        """What the last message asks to remember, written down; None where it asks for nothing."""
        fact = asked_to_remember(messages[-1].content) if messages and messages[-1].role == "user" else None
        if fact is None or self._memory is None:
            return None
        return await asyncio.get_running_loop().run_in_executor(self._worker, self._remember, fact, request_id)

    def close(self) -> None:
        self._worker.submit(lambda: self._grounding.close() if self._grounding else None)
        self._worker.shutdown(wait=True)

    def _ground(self, messages: Sequence[ChatMessage], sources: Sequence[str] | None) -> Grounded:
        try:
            self._grounding = self._grounding or self._open()
            grounded = self._grounding.ground(messages, sources)
        except VortexError:
            if not self._failed:
                log.exception("knowledge cannot be read; answers go on without it")
            self._failed = True
            return Grounded(tuple(messages))
        self._failed = False
        return grounded

    def _remember(self, fact: str, request_id: str) -> Entry | None:
        assert self._memory is not None, "asked only where there is a memory"
        try:
            return self._memory.add(fact, source="server", request_id=request_id)
        except VortexError:
            log.exception("a fact could not be remembered")
            return None
