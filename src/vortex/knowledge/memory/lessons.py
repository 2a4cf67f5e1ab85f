"""Lessons: the right answer to a question that was answered wrongly, found again by meaning.

The face that learning uses "at once", before anything is trained: `teach` a question and its statement, `best` finds
the one lesson that a new question is about (cosine over question and statement, threshold, subject guard), or none.
"""

from __future__ import annotations

from vortex.knowledge.embedding import Embedder
from vortex.knowledge.memory.entries import Entry, Kind
from vortex.knowledge.memory.folder import Memory
from vortex.knowledge.memory.recall import THRESHOLD, Recall, Recalled


class Lessons:
    """Over the lessons of one memory. One thread at a time."""

    def __init__(self, memory: Memory, embedder: Embedder, *, threshold: float = THRESHOLD) -> None:
        self._memory = memory
        self._recall = Recall(memory, embedder, threshold=threshold)

    def teach(self, question: str, statement: str, *, source: str, request_id: str | None = None) -> Entry:
        """Replaces an older lesson on the same question. Raises RequestError for an empty or very long text."""
        return self._memory.add(statement, source=source, kind=Kind.LESSON, question=question, request_id=request_id)

    def best(self, question: str) -> Recalled | None:
        return next(iter(self._recall.nearest(question, kind=Kind.LESSON)), None)

    def all(self) -> list[Entry]:
        return self._memory.entries(Kind.LESSON)

    def forget(self, entry_id: str, *, source: str, erase: bool = False) -> Entry:
        return self._memory.forget(entry_id, source=source, erase=erase)
