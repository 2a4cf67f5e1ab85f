"""Writes episodes down away from the hot path: a queue, and one thread that appends.

Promises: `close` returns when everything that was added is on disk. A disk that refuses is told in one
line, once; answers go on.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
import time
from collections.abc import Sequence
from typing import Any

from vortex.records.episodes import Episode, EpisodeStore, Feedback, TrainingEvent
from vortex.server.answer import Gathered
from vortex.types import ChatRequest

log = logging.getLogger(__name__)


class EpisodeLog:
    def __init__(self, store: EpisodeStore) -> None:
        self._store = store
        self._queue: queue.SimpleQueue[Episode | threading.Event | None] = queue.SimpleQueue()
        self._is_refused = False  # the last one could not be written
        self._thread = threading.Thread(target=self._write, name="episodes", daemon=True)
        self._thread.start()

    def add(
        self, request: ChatRequest, messages: list[dict[str, Any]], gathered: Gathered, sources: Sequence[str] = ()
    ) -> None:
        self._queue.put(_episode(request, messages, gathered, sources))

    async def find(self, request_id: str) -> Episode | None:
        """The episode of a finished answer, also where it has just ended."""
        return await asyncio.to_thread(self._find, request_id)

    def _find(self, request_id: str) -> Episode | None:
        self._let_queue_reach_the_disk()
        return self._store.find(request_id)

    async def give_feedback(self, feedback: Feedback) -> tuple[bool, TrainingEvent | None]:
        """Whether the episode is known, and the training event that the feedback made, if it made one."""
        return await asyncio.to_thread(self._give_feedback, feedback)

    def _give_feedback(self, feedback: Feedback) -> tuple[bool, TrainingEvent | None]:
        self._let_queue_reach_the_disk()  # feedback may follow its answer at once
        episode = self._store.find(feedback.request_id)
        return (True, self._store.add_feedback(feedback, episode)) if episode else (False, None)

    def _let_queue_reach_the_disk(self) -> None:
        written = threading.Event()
        self._queue.put(written)
        written.wait()

    def close(self) -> None:
        self._queue.put(None)
        self._thread.join()

    def _write(self) -> None:
        while (item := self._queue.get()) is not None:
            if isinstance(item, threading.Event):
                item.set()
                continue
            try:
                self._store.add(item)
                self._is_refused = False
            except OSError as error:
                if not self._is_refused:  # once: a disk that refuses one refuses all
                    reason = error.strerror or type(error).__name__
                    log.warning("chats are not written down (%s); choose a folder with VORTEX_DATA", reason)
                self._is_refused = True
            except Exception:  # one that cannot be spelled: the next ones are still written
                log.exception("a chat could not be written down")


def _episode(
    request: ChatRequest, messages: list[dict[str, Any]], gathered: Gathered, sources: Sequence[str]
) -> Episode:
    choice, usage, timings = gathered.choices[0], gathered.usage, gathered.timings
    tokens = {}
    if usage is not None:
        tokens = {"prompt": usage.prompt_tokens, "completion": usage.completion_tokens, "cached": usage.cached_tokens}
        if usage.reasoning_tokens:
            tokens["reasoning"] = usage.reasoning_tokens
    times = {"queue_ms": timings.queue_ms, "prefill_ms": timings.prefill_ms, "decode_ms": timings.decode_ms}
    times["total_ms"] = gathered.total_ms
    if gathered.first_token_ms is not None:
        times["first_token_ms"] = gathered.first_token_ms
    return Episode(
        request_id=request.request_id,
        model=gathered.started.model,
        adapter=gathered.started.adapter,
        messages=messages,
        answer=choice.text,
        reasoning=choice.reasoning,
        created=time.time(),
        tool_calls=[{"id": c.id, "name": c.name, "arguments": c.arguments} for c in choice.tool_calls],
        finish_reason=choice.reason,
        seed=gathered.started.seed,
        usage=tokens,
        timings={name: round(value, 3) for name, value in times.items()},
        error=gathered.error,
        sources=list(sources),
    )
