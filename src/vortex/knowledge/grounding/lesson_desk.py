"""Corrections at once: a lesson stands before the next question that asks for it, and before no other.

The best lesson alone, as "Facts: - … Question: …" (docs/measurements has what other forms did). On a thread of its own,
opened when the first lesson is there. Promises that without lessons nothing is opened and no request waits, that a
question no lesson is about stays the very same messages, and that a store which cannot be read is logged once and the
question answered without it. Does not judge what is taught: `suspicions` is handed in.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from vortex.errors import VortexError
from vortex.knowledge.memory.entries import MAX_CHARS, Entry, Kind
from vortex.knowledge.memory.folder import Memory, folded
from vortex.knowledge.memory.recall import Recalled
from vortex.types import ChatMessage

log = logging.getLogger(__name__)
Suspicions = Callable[[str, str], list[str]]
"""(question, statement) to what speaks against believing it."""


class FindsLessons(Protocol):
    """knowledge/memory/lessons.py."""

    def best(self, question: str) -> Recalled | None: ...


class SameQuestion:
    """Where there is no embedder: a lesson is found by its own question, letter by letter."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory

    def best(self, question: str) -> Recalled | None:
        entries = self._memory.entries(Kind.LESSON)
        found = next((entry for entry in entries if folded(entry.question or "") == folded(question)), None)
        return Recalled(found, 1.0) if found else None


class LessonDesk:
    """open_lessons: called once, on the desk's thread. covered: origins of lessons that the weights answer alone."""

    def __init__(
        self,
        memory: Memory,
        open_lessons: Callable[[], FindsLessons],
        suspicions: Suspicions = lambda _, __: [],
        covered: Callable[[], frozenset[str]] = frozenset,
    ) -> None:
        self._memory, self._open, self._suspicions, self._covered = memory, open_lessons, suspicions, covered
        self._lessons: FindsLessons | None = None
        self._failed = False
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="vortex-lessons")

    async def best(self, messages: Sequence[ChatMessage]) -> Recalled | None:
        """The lesson that the last message asks for; None where it asks for none."""
        if not messages or messages[-1].role != "user" or not self._memory.signature():
            return None
        return await asyncio.get_running_loop().run_in_executor(self._worker, self.find, messages[-1].content)

    async def teach(self, question: str, statement: str, request_id: str) -> tuple[Entry | None, list[str]]:
        """The lesson made of a correction; or none, and what spoke against it. Repeated: replaced."""
        return await asyncio.get_running_loop().run_in_executor(
            self._worker, self.write, question, statement, "feedback", request_id
        )

    async def forget(self, request_id: str) -> None:
        """The correction was taken back."""
        await asyncio.get_running_loop().run_in_executor(self._worker, self._forget, request_id)

    def close(self) -> None:
        self._worker.shutdown(wait=True)

    def find(self, question: str) -> Recalled | None:
        """On the calling thread, which must be one and the same."""
        try:
            if self._lessons is None and not self._memory.entries(Kind.LESSON):
                return None
            self._lessons = self._lessons or self._open()
            found = self._lessons.best(question)
        except VortexError:
            if not self._failed:
                log.exception("lessons cannot be read; answers go on without them")
            self._failed = True
            return None
        self._failed = False
        if found is None or {found.entry.id, found.entry.request_id or ""} & self._covered():
            return None
        return found

    def write(
        self, question: str, statement: str, source: str, request_id: str | None
    ) -> tuple[Entry | None, list[str]]:
        """On the calling thread. Raises StorageError."""
        reasons = self._suspicions(question, statement)
        if len(statement) > MAX_CHARS or len(question) > MAX_CHARS:
            reasons = [*reasons, f"more than {MAX_CHARS} characters"]
        if reasons or not question.strip() or not statement.strip():
            return None, reasons or ["an empty text"]
        if request_id is not None:
            self._forget(request_id)
        entry = self._memory.add(statement, source=source, kind=Kind.LESSON, question=question, request_id=request_id)
        return entry, []

    def _forget(self, request_id: str) -> None:
        for entry in self._memory.entries(Kind.LESSON):
            if entry.request_id == request_id:
                self._memory.forget(entry.id, source="feedback")


def with_lesson(messages: Sequence[ChatMessage], lesson: Recalled) -> tuple[ChatMessage, ...]:
    """The conversation with the lesson before its last question."""
    last = messages[-1]
    return (
        *messages[:-1],
        dataclasses.replace(last, content=f"Facts:\n- {lesson.entry.text}\n\nQuestion: {last.content}"),
    )
