"""`chat.completion` and `chat.completion.chunk`."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any

import orjson

from vortex.server.answer import Gathered, GatheredChoice, LiveAnswer
from vortex.server.bodies.chat import ChatBody
from vortex.server.errors import error_body
from vortex.server.render import common
from vortex.server.sse import DONE, frame
from vortex.types import ChatEvent, ChoiceFinished, Completed, ReasoningDelta, TextDelta, ToolCallDelta


def whole(request_id: str, fingerprint: str, gathered: Gathered, *, logprobs: bool) -> dict[str, Any]:
    assert gathered.usage is not None, "only a completed answer is rendered whole"
    return {
        "id": request_id,
        "object": "chat.completion",
        "created": int(time.time()),
        "model": gathered.started.model,
        "choices": [_choice(index, choice, logprobs) for index, choice in enumerate(gathered.choices)],
        "usage": common.usage(gathered.usage),
        "system_fingerprint": fingerprint,
        "seed": gathered.started.seed,
        "timings": common.timings(gathered.timings, gathered.usage),
        **common.notes(gathered.started),
    }


def _choice(index: int, choice: GatheredChoice, logprobs: bool) -> dict[str, Any]:
    calls = [
        {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
        for call in choice.tool_calls
    ]
    message: dict[str, Any] = {"role": "assistant", "content": choice.text or (None if calls else ""), "refusal": None}
    if choice.thoughts:
        message["reasoning_content"] = choice.reasoning
    if calls:
        message["tool_calls"] = calls
    return {
        "index": index,
        "message": message,
        "logprobs": common.chat_logprobs(choice.logprobs) if logprobs else None,
        "finish_reason": common.finish_reason(choice.reason),
        **common.note(choice.note),
    }


class ChatWriter:
    """A `vortex.server.exchange.AnswerWriter`: one answer whole, or its chunks, which share a head; each choice opens
    with its role. closing: fields that ride with the end of the first choice."""

    def __init__(
        self, body: ChatBody, fingerprint: str, answer: LiveAnswer, closing: Callable[[], dict[str, Any]]
    ) -> None:
        started = answer.started
        self._head: dict[str, Any] = {
            "id": started.request_id,
            "object": "chat.completion.chunk",
            "created": int(time.time()),
            "model": started.model,
            "system_fingerprint": fingerprint,
            "seed": started.seed,
        }
        self._fingerprint = fingerprint
        self._with_logprobs = bool(body.logprobs)
        self._with_usage = with_usage = body.wants_usage
        self._num_choices = len(answer.gathered.choices)
        self._notes = common.notes(started)
        self._closing = closing
        head = orjson.dumps(self._head)[:-1]  # written once: the rest of a chunk is a few bytes
        self._begin = b"data: " + head + b',"choices":['
        self._end = b'],"usage":null}\n\n' if with_usage else b"]}\n\n"

    def whole(self, gathered: Gathered) -> dict[str, Any]:
        request_id = gathered.started.request_id
        return whole(request_id, self._fingerprint, gathered, logprobs=self._with_logprobs) | self._closing()

    def failure(self, error: Exception) -> bytes:
        return frame(error_body(error))

    async def frames(self, events: AsyncGenerator[ChatEvent, None]) -> AsyncGenerator[bytes, None]:
        for index in range(self._num_choices):
            yield self._opening(index)
        async with aclosing(events):
            async for event in events:
                if data := self._event(event):
                    yield data
        yield DONE

    def _opening(self, index: int) -> bytes:
        delta = {"role": "assistant", "content": ""}
        if index or not self._notes:
            return self._frame(index, delta)
        choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": None}
        return frame(
            {**self._head, "choices": [choice], **({"usage": None} if self._with_usage else {}), **self._notes}
        )

    def _event(self, event: ChatEvent) -> bytes | None:
        if isinstance(event, TextDelta):
            return self._frame(event.choice, {"content": event.text}, event)
        if isinstance(event, ReasoningDelta):
            return self._frame(event.choice, {"reasoning_content": event.text})
        if isinstance(event, ToolCallDelta):
            return self._frame(event.choice, {"tool_calls": [_call(event)]})
        if isinstance(event, ChoiceFinished):
            return self._last_of(event)
        if isinstance(event, Completed) and self._with_usage:
            last = {"choices": [], "usage": common.usage(event.usage)}
            return frame({**self._head, **last, "timings": common.timings(event.timings, event.usage)})
        return None

    def _last_of(self, event: ChoiceFinished) -> bytes:
        reason = common.finish_reason(event.reason)
        further = self._closing() if event.choice == 0 else {}
        if not further:
            return self._frame(event.choice, {}, reason=reason, note=event.note)
        choice = {"index": event.choice, "delta": {}, "logprobs": None, "finish_reason": reason}
        choice |= common.note(event.note)
        usage = {"usage": None} if self._with_usage else {}
        return frame({**self._head, "choices": [choice], **usage, **further})

    def _frame(
        self,
        index: int,
        delta: dict[str, Any],
        text: TextDelta | None = None,
        reason: str | None = None,
        note: str = "",
    ) -> bytes:
        logprobs = common.chat_logprobs(text.logprobs) if text is not None and text.logprobs else None
        choice = {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": reason, **common.note(note)}
        return self._begin + orjson.dumps(choice) + self._end


def _call(event: ToolCallDelta) -> dict[str, Any]:
    function: dict[str, Any] = {"arguments": event.arguments}
    if event.id is None:
        return {"index": event.index, "function": function}
    return {"index": event.index, "id": event.id, "type": "function", "function": {"name": event.name, **function}}
