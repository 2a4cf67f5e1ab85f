"""Anthropic's `message`, whole and as its stream of typed events.

    message_start · (content_block_start · content_block_delta … · content_block_stop) … · message_delta · message_stop

Blocks stand in the order in which they began: thoughts, words, calls. One that begins closes the one before.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any

import orjson

from vortex.server.answer import Gathered
from vortex.server.errors import anthropic_error
from vortex.server.sse import frame
from vortex.types import (
    ChatEvent,
    ChoiceFinished,
    Completed,
    FinishReason,
    ReasoningDelta,
    Started,
    TextDelta,
    ToolCallDelta,
    Usage,
)

SIGNATURE = "dm9ydGV4"  # a local server signs nothing, and clients want to send something back
STOP_REASONS = {FinishReason.LENGTH: "max_tokens", FinishReason.TOOL_CALLS: "tool_use"}


class MessageWriter:
    """A `vortex.server.exchange.AnswerWriter`. closing: our own fields of a finished answer."""

    def __init__(
        self, request_id: str, started: Started, notes: tuple[str, ...], closing: Callable[[], dict[str, Any]]
    ) -> None:
        self._request_id = request_id
        self._started = started
        self._notes = [*started.notes, *notes]
        self._closing = closing
        self._open: tuple[str, int] | None = None  # kind of the block under way, and which call
        self._index = -1
        self._end: ChoiceFinished | None = None
        self._usage: Usage | None = None

    def whole(self, gathered: Gathered) -> dict[str, Any]:
        choice = gathered.choices[0]
        content: list[dict[str, Any]] = []
        if choice.thoughts:
            content.append({"type": "thinking", "thinking": choice.reasoning, "signature": SIGNATURE})
        if choice.text or not choice.calls:
            content.append({"type": "text", "text": choice.text})
        for call in choice.tool_calls:
            content.append({"type": "tool_use", "id": call.id, "name": call.name, "input": _input(call.arguments)})
        assert gathered.usage is not None, "only a completed answer is written whole"
        end = _end(choice.reason, choice.stop)
        return self._message(content, _usage(gathered.usage)) | end | self._ours()

    async def frames(self, events: AsyncGenerator[ChatEvent, None]) -> AsyncGenerator[bytes, None]:
        usage = _usage(Usage(prompt_tokens=self._started.prompt_tokens, completion_tokens=0))
        yield _event("message_start", message=self._message([], usage))
        yield _event("ping")
        async with aclosing(events):
            async for event in events:
                if data := self._take(event):
                    yield data
        assert self._usage is not None, "an answer ends with its usage"
        end = _end(self._end.reason if self._end else None, self._end.stop if self._end else None)
        yield _event("message_delta", delta=end, usage=_usage(self._usage), **self._ours())
        yield _event("message_stop")

    def failure(self, error: Exception) -> bytes:
        return frame(anthropic_error(error), event="error")

    def _take(self, event: ChatEvent) -> bytes:
        if isinstance(event, TextDelta):
            return self._delta(("text", 0), {"type": "text_delta", "text": event.text}) if event.text else b""
        if isinstance(event, ReasoningDelta):
            return self._delta(("thinking", 0), {"type": "thinking_delta", "thinking": event.text})
        if isinstance(event, ToolCallDelta):
            opened = self._opened(("tool_use", event.index), event)
            return opened + self._piece({"type": "input_json_delta", "partial_json": event.arguments})
        if isinstance(event, ChoiceFinished):
            self._end = event
            empty = self._opened(("text", 0)) if self._open is None else b""
            return empty + self._closed()
        if isinstance(event, Completed):
            self._usage = event.usage
        return b""

    def _delta(self, block: tuple[str, int], delta: dict[str, str]) -> bytes:
        return self._opened(block) + self._piece(delta)

    def _piece(self, delta: dict[str, str]) -> bytes:
        return _event("content_block_delta", index=self._index, delta=delta)

    def _opened(self, block: tuple[str, int], call: ToolCallDelta | None = None) -> bytes:
        """Frames after which this block is the one under way."""
        if self._open == block:
            return b""
        closed = self._closed()
        self._open, self._index = block, self._index + 1
        content: dict[str, Any] = {"type": block[0]}
        if call is not None:
            content |= {"id": call.id, "name": call.name, "input": {}}
        elif block[0] == "text":
            content["text"] = ""
        else:
            content |= {"thinking": "", "signature": ""}
        return closed + _event("content_block_start", index=self._index, content_block=content)

    def _closed(self) -> bytes:
        if self._open is None:
            return b""
        signed = b""
        if self._open[0] == "thinking":
            signed = self._piece({"type": "signature_delta", "signature": SIGNATURE})
        self._open = None
        return signed + _event("content_block_stop", index=self._index)

    def _message(self, content: list[dict[str, Any]], usage: dict[str, Any]) -> dict[str, Any]:
        return {
            "id": self._request_id,
            "type": "message",
            "role": "assistant",
            "model": self._started.model,
            "content": content,
            "stop_reason": None,
            "stop_sequence": None,
            "usage": usage,
        }

    def _ours(self) -> dict[str, Any]:
        """What Anthropic has no field for: what was not done as asked, citations, a note about the answer's end."""
        notes = [*self._notes, *([self._end.note] if self._end and self._end.note else [])]
        return {**({"notes": notes} if notes else {}), **self._closing()}


def _event(kind: str, **fields: Any) -> bytes:
    return frame({"type": kind, **fields}, event=kind)


def _end(reason: FinishReason | None, stop: str | None) -> dict[str, Any]:
    if stop is not None and reason is FinishReason.STOP:
        return {"stop_reason": "stop_sequence", "stop_sequence": stop}
    return {"stop_reason": STOP_REASONS.get(reason, "end_turn") if reason else "end_turn", "stop_sequence": None}


def _usage(counts: Usage) -> dict[str, Any]:
    """Anthropic counts what was reused apart from the rest of the prompt."""
    return {
        "input_tokens": counts.prompt_tokens - counts.cached_tokens,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": counts.cached_tokens,
        "output_tokens": counts.completion_tokens,
        "output_tokens_details": {"thinking_tokens": counts.reasoning_tokens},
    }


def _input(arguments: str) -> dict[str, Any]:
    """A call that was cut is shown as far as it is an object: not at all."""
    try:
        value = orjson.loads(arguments or "{}")
    except orjson.JSONDecodeError:
        return {}
    return value if isinstance(value, dict) else {}
