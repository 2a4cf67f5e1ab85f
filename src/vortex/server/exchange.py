"""The way of one conversation through the server, whatever wire it came by: grounded, begun, written.

A route reads its body into an `Asked` and brings a writer; nothing else differs between OpenAI's chat, the Responses
API, Anthropic's messages and Ollama's chat.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import orjson
from starlette.requests import Request
from starlette.responses import Response

from vortex.server.answer import Gathered, LiveAnswer, unless_gone
from vortex.server.bodies.extension import Extension
from vortex.server.bodies.messages import Message
from vortex.server.grounding import begin_grounded
from vortex.server.serving import Serving
from vortex.server.sse import SseResponse
from vortex.types import ChatEvent, ChatRequest

Closing = Callable[[], dict[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """messages: the conversation as it came, for the episode. limit_name: how this wire spells `max_tokens`."""

    request: ChatRequest
    messages: Sequence[Message]
    stream: bool
    extension: Extension | None = None
    limit_name: str = "max_tokens"
    media_type: str = "text/event-stream"  # of a stream
    is_kept: bool = True  # false: the client asks that nothing is written down


class AnswerWriter(Protocol):
    """One wire's way out, made for one answer."""

    def frames(self, events: AsyncGenerator[ChatEvent, None]) -> AsyncGenerator[bytes, None]: ...

    def whole(self, gathered: Gathered) -> Mapping[str, Any]: ...

    def failure(self, error: Exception) -> bytes:
        """What a stream says when it fails after its first byte."""
        ...


async def exchange(
    request: Request, asked: Asked, writer_for: Callable[[LiveAnswer, Closing], AnswerWriter]
) -> Response:
    """writer_for: gets the begun answer, and what gives our own fields that a finished answer carries."""
    serving: Serving = request.app.state.serving
    keeps = serving.episodes is not None and asked.is_kept
    messages = [message.model_dump(exclude_none=True) for message in asked.messages] if keeps else None
    answer, grounded = await begin_grounded(
        serving, request, asked.request, asked.extension, messages, limit_name=asked.limit_name
    )
    writer = writer_for(answer, lambda: grounded.closing(lambda: answer.gathered))
    if asked.stream:
        return SseResponse(writer.frames(answer.events()), answer.close, writer.failure, asked.media_type)
    try:
        gathered = await unless_gone(request, answer.whole())
    finally:
        await answer.close()
    return Response(orjson.dumps(writer.whole(gathered)), media_type="application/json")
