"""The `response` object of `/v1/responses`, whole and as its stream of named events.

Output items stand in the order in which they began: what was thought, at most one message, and the function calls.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from vortex.records.episodes import Episode
from vortex.server.answer import Gathered
from vortex.server.bodies.responses import ResponsesBody
from vortex.server.errors import error_body
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

MAX_NOTES_CHARS = 512  # of a value in `metadata`


@dataclass(slots=True)
class Output:
    """One item under way: a message, thoughts, or a function call (`call_id`)."""

    item_id: str
    index: int
    call_id: str | None = None
    is_thought: bool = False
    name: str = ""
    pieces: list[str] = field(default_factory=list)

    def item(self, status: str) -> dict[str, Any]:
        text = "".join(self.pieces)
        if self.call_id is not None:
            fields = {"call_id": self.call_id, "name": self.name, "arguments": text}
            return {"id": self.item_id, "type": "function_call", "status": status, **fields}
        if self.is_thought:
            thoughts = [{"type": "reasoning_text", "text": text}] if text else []
            return {"id": self.item_id, "type": "reasoning", "status": status, "summary": [], "content": thoughts}
        content = [_text_part(text)] if text or status != "in_progress" else []
        return {"id": self.item_id, "type": "message", "status": status, "role": "assistant", "content": content}


def _text_part(text: str) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


class ResponseWriter:
    """A `vortex.server.exchange.AnswerWriter`: takes an answer's events in, gives named events out, and can say the
    whole response at any time. closing: fields of ours that a finished response carries."""

    def __init__(self, body: ResponsesBody, started: Started, closing: Callable[[], dict[str, Any]]) -> None:
        self._request_id = started.request_id
        self._model = started.model
        self._body = body
        self._notes = "; ".join([*started.notes, *body.notes()])[:MAX_NOTES_CHARS]
        self._closing = closing
        self._created = int(time.time())
        self._outputs: list[Output] = []
        self._calls: dict[int, Output] = {}
        self._message: Output | None = None
        self._thought: Output | None = None
        self._usage: Usage | None = None
        self._reason: FinishReason | None = None
        self._sequence = 0

    def whole(self, gathered: Gathered) -> dict[str, Any]:
        choice = gathered.choices[0]
        if choice.thoughts:
            self.take(ReasoningDelta(choice=0, text=choice.reasoning))
        self.take(TextDelta(choice=0, text=choice.text))
        for index, call in enumerate(choice.tool_calls):
            self.take(ToolCallDelta(choice=0, index=index, id=call.id, name=call.name, arguments=call.arguments))
        self.take(ChoiceFinished(choice=0, reason=choice.reason or FinishReason.STOP))
        self._usage = gathered.usage
        return self.response("completed")

    def failure(self, error: Exception) -> bytes:
        """The wire's own end of a response, and what official clients raise on."""
        told = error_body(error)
        reason = {"code": told["error"]["code"] or "server_error", "message": told["error"]["message"]}
        failed = self._frame("response.failed", response=self.response("failed") | {"error": reason})
        return failed + frame({"type": "error", **told}, event="error")

    def response(self, status: str) -> dict[str, Any]:
        body = self._body
        done = status != "in_progress"
        cut = done and self._reason is FinishReason.LENGTH
        if done and self._reason is FinishReason.CANCELLED:
            status = "cancelled"
        text = body.text.model_dump(exclude_none=True, by_alias=True) if body.text else {"format": {"type": "text"}}
        choice = body.tool_choice or "auto"
        return {
            "id": self._request_id,
            "object": "response",
            "created_at": self._created,
            "status": "incomplete" if cut else status,
            "error": None,
            "incomplete_details": {"reason": "max_output_tokens"} if cut else None,
            "instructions": body.instructions,
            "max_output_tokens": body.max_output_tokens,
            "model": self._model,
            "output": [output.item("incomplete" if cut else "completed") for output in self._outputs] if done else [],
            "parallel_tool_calls": bool(body.parallel_tool_calls),
            "previous_response_id": body.previous_response_id,
            "reasoning": {"effort": body.reasoning.effort if body.reasoning else None, "summary": None},
            "store": bool(body.store is not False),
            "temperature": body.temperature,
            "text": text,
            "tool_choice": choice if isinstance(choice, str) else choice.model_dump(),
            "tools": [tool.model_dump() for tool in body.tools or () if tool.type == "function"],
            "top_p": body.top_p,
            "truncation": "disabled",
            "usage": _usage(self._usage) if self._usage else None,
            "metadata": {**(body.metadata or {}), **({"notes": self._notes} if self._notes else {})},
            **(self._closing() if status == "completed" else {}),
        }

    async def frames(self, events: AsyncGenerator[ChatEvent, None]) -> AsyncGenerator[bytes, None]:
        for kind in ("response.created", "response.in_progress"):
            yield self._frame(kind, response=self.response("in_progress"))
        async with aclosing(events):
            async for event in events:
                for data in self.take(event):
                    yield data
        final = self.response("completed")
        ended = "incomplete" if final["status"] == "cancelled" else final["status"]
        yield self._frame(f"response.{ended}", response=final)

    def take(self, event: ChatEvent) -> list[bytes]:
        """Frames that an event gives rise to."""
        if isinstance(event, TextDelta) and event.text:
            opened = self._open_message() if self._message is None else []
            message = self._message
            assert message is not None, "a message was opened"
            message.pieces.append(event.text)
            place = self._place(message, content_index=0)
            return [*opened, self._frame("response.output_text.delta", delta=event.text, logprobs=[], **place)]
        if isinstance(event, ReasoningDelta):
            return self._think(event.text)
        if isinstance(event, ToolCallDelta):
            opened = [] if event.index in self._calls else self._open_call(event)
            call = self._calls[event.index]
            call.pieces.append(event.arguments)
            kind = "response.function_call_arguments.delta"
            return (
                [*opened, self._frame(kind, delta=event.arguments, **self._place(call))] if event.arguments else opened
            )
        if isinstance(event, ChoiceFinished):
            self._reason = event.reason
            return [data for output in self._outputs for data in self._close(output)]
        if isinstance(event, Completed):
            self._usage = event.usage
        return []

    def _think(self, text: str) -> list[bytes]:
        opened: list[bytes] = []
        if self._thought is None:
            item_id = f"rs_{self._request_id.removeprefix('resp_')}_{len(self._outputs)}"
            self._thought = Output(item_id, len(self._outputs), is_thought=True)
            self._outputs.append(self._thought)
            added = self._thought.item("in_progress")
            opened = [self._frame("response.output_item.added", output_index=self._thought.index, item=added)]
        self._thought.pieces.append(text)
        place = self._place(self._thought, content_index=0)
        return [*opened, self._frame("response.reasoning_text.delta", delta=text, **place)]

    def _open_message(self) -> list[bytes]:
        self._message = Output(f"msg_{self._request_id.removeprefix('resp_')}", len(self._outputs))
        self._outputs.append(self._message)
        place = self._place(self._message, content_index=0)
        added = self._message.item("in_progress")
        return [
            self._frame("response.output_item.added", output_index=self._message.index, item=added),
            self._frame("response.content_part.added", part=_text_part(""), **place),
        ]

    def _open_call(self, event: ToolCallDelta) -> list[bytes]:
        item_id = f"fc_{self._request_id.removeprefix('resp_')}_{event.index}"
        call = Output(item_id, len(self._outputs), event.id or item_id, name=event.name or "")
        self._calls[event.index] = call
        self._outputs.append(call)
        return [self._frame("response.output_item.added", output_index=call.index, item=call.item("in_progress"))]

    def _close(self, output: Output) -> list[bytes]:
        text = "".join(output.pieces)
        place = self._place(output)
        ended = "incomplete" if self._reason is FinishReason.LENGTH else "completed"
        if output.call_id is not None:
            kind = "response.function_call_arguments.done"
            closing = [self._frame(kind, name=output.name, arguments=text, **place)]
        elif output.is_thought:
            closing = [self._frame("response.reasoning_text.done", text=text, content_index=0, **place)]
        else:
            closing = [
                self._frame("response.output_text.done", text=text, logprobs=[], content_index=0, **place),
                self._frame("response.content_part.done", part=_text_part(text), content_index=0, **place),
            ]
        last = self._frame("response.output_item.done", output_index=output.index, item=output.item(ended))
        return [*closing, last]

    def _place(self, output: Output, **more: int) -> dict[str, Any]:
        return {"item_id": output.item_id, "output_index": output.index, **more}

    def _frame(self, kind: str, **fields: Any) -> bytes:
        data = frame({"type": kind, "sequence_number": self._sequence, **fields}, event=kind)
        self._sequence += 1
        return data


def stored(episode: Episode) -> dict[str, Any]:
    """A response as it was, from its episode: what is asked for by its id afterwards."""
    cut = episode.finish_reason == FinishReason.LENGTH
    status = "failed" if episode.error else "incomplete" if cut else "completed"
    if episode.finish_reason in (None, FinishReason.CANCELLED) and not episode.error:
        status = "cancelled"
    name = episode.request_id.removeprefix("resp_")
    items: list[dict[str, Any]] = []
    if episode.reasoning:
        items.append(Output(f"rs_{name}_0", 0, is_thought=True, pieces=[episode.reasoning]).item("completed"))
    if episode.answer or not episode.tool_calls:
        items.append(Output(f"msg_{name}", len(items), pieces=[episode.answer]).item("completed"))
    for index, call in enumerate(episode.tool_calls):
        output = Output(f"fc_{name}_{index}", len(items), call["id"], name=call["name"], pieces=[call["arguments"]])
        items.append(output.item("completed"))
    return {
        "id": episode.request_id,
        "object": "response",
        "created_at": int(episode.created),
        "status": status,
        "error": {"code": "server_error", "message": episode.error} if episode.error else None,
        "incomplete_details": {"reason": "max_output_tokens"} if cut else None,
        "model": episode.model,
        "output": items,
        "parallel_tool_calls": False,
        "tool_choice": "auto",
        "tools": [],
        "usage": _stored_usage(episode.usage),
        "metadata": {},
    }


def _stored_usage(counts: Mapping[str, int]) -> dict[str, Any] | None:
    if not counts:
        return None
    names = {"prompt_tokens": "prompt", "completion_tokens": "completion", "cached_tokens": "cached"}
    names |= {"reasoning_tokens": "reasoning"}
    return _usage(Usage(**{field: counts.get(name, 0) for field, name in names.items()}))


def _usage(counts: Usage) -> dict[str, Any]:
    return {
        "input_tokens": counts.prompt_tokens,
        "input_tokens_details": {"cached_tokens": counts.cached_tokens},
        "output_tokens": counts.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": counts.reasoning_tokens},
        "total_tokens": counts.prompt_tokens + counts.completion_tokens,
    }
