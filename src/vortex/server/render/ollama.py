"""Ollama's answers: lines of JSON, or one object; calls whole, times in nanoseconds."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Any

import orjson

from vortex.server.answer import Gathered, GatheredCall
from vortex.server.errors import ollama_error
from vortex.types import (
    ChatEvent,
    ChoiceFinished,
    Completed,
    FinishReason,
    ReasoningDelta,
    Started,
    TextDelta,
    Timings,
    ToolCall,
    ToolCallDelta,
    Usage,
)

NDJSON = "application/x-ndjson"
NS_PER_MS = 1_000_000


class OllamaWriter:
    """A `vortex.server.exchange.AnswerWriter` for `/api/chat`, or (`is_chat` false) for `/api/generate`."""

    def __init__(self, model: str, started: Started, *, is_chat: bool) -> None:
        self._model = model
        self._notes = list(started.notes)
        self._is_chat = is_chat
        self._calls: dict[int, GatheredCall] = {}
        self._reason: FinishReason | None = None

    def whole(self, gathered: Gathered) -> dict[str, Any]:
        choice = gathered.choices[0]
        assert gathered.usage is not None, "only a completed answer is written whole"
        said = self._said(choice.text, choice.reasoning, choice.tool_calls)
        return self._last(said, choice.reason, gathered.usage, gathered.timings)

    async def frames(self, events: AsyncGenerator[ChatEvent, None]) -> AsyncGenerator[bytes, None]:
        async with aclosing(events):
            async for event in events:
                if line := self._take(event):
                    yield orjson.dumps(line) + b"\n"

    def failure(self, error: Exception) -> bytes:
        return orjson.dumps(ollama_error(error)) + b"\n"

    def _take(self, event: ChatEvent) -> dict[str, Any] | None:
        if isinstance(event, TextDelta) and event.text:
            return self._line(self._said(event.text))
        if isinstance(event, ReasoningDelta):
            return self._line(self._said("", event.text))
        if isinstance(event, ToolCallDelta):
            call = self._calls.setdefault(event.index, GatheredCall())
            call.id, call.name = event.id or call.id, event.name or call.name
            call.arguments.append(event.arguments)
        elif isinstance(event, ChoiceFinished):
            self._reason = event.reason
            if self._calls:
                return self._line(self._said("", "", [call.whole() for call in self._calls.values()]))
        elif isinstance(event, Completed):
            return self._last(self._said(""), self._reason, event.usage, event.timings)
        return None

    def _said(self, text: str, thought: str = "", calls: list[ToolCall] | None = None) -> dict[str, Any]:
        if not self._is_chat:
            return {"response": text, **({"thinking": thought} if thought else {})}
        message: dict[str, Any] = {"role": "assistant", "content": text}
        if thought:
            message["thinking"] = thought
        if calls:
            message["tool_calls"] = [
                {"function": {"name": call.name, "arguments": _arguments(call.arguments)}} for call in calls
            ]
        return {"message": message}

    def _line(self, said: dict[str, Any], *, done: bool = False) -> dict[str, Any]:
        created = datetime.now(UTC).isoformat().replace("+00:00", "Z")
        return {"model": self._model, "created_at": created, **said, "done": done}

    def _last(self, said: dict[str, Any], reason: FinishReason | None, usage: Usage, times: Timings) -> dict[str, Any]:
        total_ms = times.queue_ms + times.prefill_ms + times.decode_ms
        return {
            **self._line(said, done=True),
            "done_reason": "length" if reason is FinishReason.LENGTH else "stop",
            "total_duration": round(total_ms * NS_PER_MS),
            "load_duration": 0,
            "prompt_eval_count": usage.prompt_tokens,
            "prompt_eval_duration": round(times.prefill_ms * NS_PER_MS),
            "eval_count": usage.completion_tokens,
            "eval_duration": round(times.decode_ms * NS_PER_MS),
            **({"notes": self._notes} if self._notes else {}),
        }


def _arguments(text: str) -> dict[str, Any]:
    """A call that was cut has none that could be read."""
    try:
        value = orjson.loads(text or "{}")
    except orjson.JSONDecodeError:
        return {}
    return value if isinstance(value, dict) else {}
