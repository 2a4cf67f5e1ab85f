"""`POST /v1/chat/completions`."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from vortex.server.bodies.chat import ChatBody
from vortex.server.bodies.reading import read_body
from vortex.server.exchange import Asked, exchange
from vortex.server.render.chat import ChatWriter
from vortex.server.serving import Serving

router = APIRouter()


@router.post("/v1/chat/completions", response_model=None)
async def chat_completions(request: Request) -> Response:
    """Answer a conversation, whole or as a stream of server-sent events."""
    serving: Serving = request.app.state.serving
    body = await read_body(request, ChatBody)
    request_id: str = request.state.request_id
    asked = Asked(
        request=body.to_request(request_id, serving.options),
        messages=body.messages,
        stream=bool(body.stream),
        extension=body.vortex,
        limit_name="max_tokens" if body.max_completion_tokens is None else "max_completion_tokens",
    )
    return await exchange(
        request,
        asked,
        lambda answer, closing: ChatWriter(body, serving.fingerprint(answer.started), answer, closing),
    )
