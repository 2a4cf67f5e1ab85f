"""`vortex bench knowledge prefix`: the second question about the same document: what the prefix cache saves.

Six passages of one document are quoted. Three ways to ask a second question, each on documents of its own so that no
cache helps by accident: first of all (cold), in a new conversation (same quotations), and as the next turn of the same
conversation (the quotations are kept, none is quoted twice).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import numpy as np

from vortex.bench.knowledge.retrieval import OPEN, SearchSet, prepare
from vortex.bench.measurement import CheckFailed
from vortex.bench.report import Report
from vortex.knowledge.embedding import Embedder
from vortex.knowledge.grounding.grounding import Grounding, GroundingOptions
from vortex.knowledge.search.search import KnowledgeSearch
from vortex.protocols import ChatBackend
from vortex.types import ChatEvent, ChatMessage, ChatRequest, Completed, SamplingOptions, TextDelta

PASSAGES = 6
FIRST, SECOND = "What is this about?", "And what should one look out for?"


@dataclass(frozen=True, slots=True)
class Asked:
    text: str
    prefill_ms: float
    prompt_tokens: int
    cached_tokens: int


@dataclass(slots=True)
class PrefixMeasurement:
    folder: Path
    embedder: Embedder
    backend: ChatBackend
    runner: asyncio.Runner
    documents: int = 4

    def check(self) -> None:
        """There are documents of six passages."""
        found = prepare(self.folder, self.embedder)
        if len(_documents(found, self.documents)) < self.documents:
            raise CheckFailed(f"fewer than {self.documents} documents have {PASSAGES} passages")
        found.store.close()

    def measure(self) -> Report:
        found = prepare(self.folder, self.embedder)
        options = GroundingOptions(search=OPEN, max_chars=100_000)
        search = KnowledgeSearch(found.store, self.embedder)
        cold: list[Asked] = []
        fresh: list[Asked] = []
        turn: list[Asked] = []
        for path in _documents(found, self.documents):
            grounding = Grounding(search, _six(options))
            first = [ChatMessage(role="user", content=FIRST)]
            cold.append(self._ask(grounding, first, path))
            fresh.append(self._ask(grounding, [ChatMessage(role="user", content=SECOND)], path))
            answered = [*first, ChatMessage(role="assistant", content=cold[-1].text)]
            turn.append(self._ask(grounding, [*answered, ChatMessage(role="user", content=SECOND)], path))
        found.store.close()
        kinds = {"first question": cold, "second, new conversation": fresh, "second, next turn": turn}
        figures: dict[str, object] = {
            name: {
                "prefill_ms": round(float(np.median([one.prefill_ms for one in asked]))),
                "prompt_tokens": round(float(np.median([one.prompt_tokens for one in asked]))),
                "cached_tokens": round(float(np.median([one.cached_tokens for one in asked]))),
            }
            for name, asked in kinds.items()
        }
        rows = [(name, *(f"{value:,}" for value in cast("dict[str, int]", figures[name]).values())) for name in kinds]
        return Report(
            "knowledge-prefix",
            f"{PASSAGES} passages of one document, medians of {self.documents}",
            ("asked", "first token, ms of prefill", "prompt tokens", "of them cached"),
            rows,
            figures,
        )

    def _ask(self, grounding: Grounding, messages: Sequence[ChatMessage], path: str) -> Asked:
        return self.runner.run(self._answer(grounding.ground(messages, [path]).messages))

    async def _answer(self, messages: tuple[ChatMessage, ...]) -> Asked:
        request = ChatRequest(
            request_id="bench", messages=messages, sampling=SamplingOptions(seed=0), max_tokens=16, ignore_eos=True
        )
        text, last = "", None
        events = cast("AsyncGenerator[ChatEvent, None]", self.backend.chat(request))
        async with aclosing(events):
            async for event in events:
                if isinstance(event, TextDelta):
                    text += event.text
                elif isinstance(event, Completed):
                    last = event
        assert last is not None, "an answer ends with Completed"
        return Asked(text, last.timings.prefill_ms, last.usage.prompt_tokens, last.usage.cached_tokens)


def _six(options: GroundingOptions) -> GroundingOptions:
    return replace(options, search=replace(options.search, top_k=PASSAGES))


def _documents(found: SearchSet, count: int) -> list[str]:
    """Documents of exactly so many passages, so that every question about one finds all of it."""
    rows = found.store.connection.execute(
        """SELECT d.path FROM documents d JOIN passages p ON p.document_id = d.id GROUP BY d.id
           HAVING count(*) = ? ORDER BY d.path LIMIT ?""",
        (PASSAGES, count),
    )
    return [path for (path,) in rows]
