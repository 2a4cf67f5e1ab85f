"""`POST /v1/chat/completions`."""

from __future__ import annotations

import orjson
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from vortex.server.answer import unless_gone
from vortex.server.bodies.chat import ChatBody
from vortex.server.bodies.reading import read_body
from vortex.server.grounding import begin_grounded
from vortex.server.render.chat import ChatChunks, whole
from vortex.server.serving import Serving
from vortex.server.sse import SseResponse

router = APIRouter()


@router.post("/v1/chat/completions", response_model=None)
async def chat_completions(request: Request) -> Response:
    """Answer a conversation, whole or as a stream of server-sent events."""
    serving: Serving = request.app.state.serving
    body = await read_body(request, ChatBody)
    request_id: str = request.state.request_id
    asked = body.to_request(request_id, serving.options)
    messages = [message.model_dump(exclude_none=True) for message in body.messages] if serving.episodes else None
    limit_name = "max_tokens" if body.max_completion_tokens is None else "max_completion_tokens"
    answer, grounded = await begin_grounded(serving, request, asked, body.vortex, messages, limit_name=limit_name)
    fingerprint = serving.fingerprint(answer.started)
    if body.stream:
        chunks = ChatChunks(request_id, fingerprint, answer.started, with_usage=body.wants_usage)
        chunks.closing = lambda: grounded.closing(lambda: answer.gathered)
        return SseResponse(chunks.frames(answer.events(), asked.num_choices), answer.close)
    try:
        gathered = await unless_gone(request, answer.whole())
    finally:
        await answer.close()
    rendered = whole(request_id, fingerprint, gathered, logprobs=bool(body.logprobs))
    rendered |= grounded.closing(lambda: gathered)
    return Response(orjson.dumps(rendered), media_type="application/json")
