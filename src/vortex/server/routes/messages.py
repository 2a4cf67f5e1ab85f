"""`POST /v1/messages` and `/v1/messages/count_tokens`: Anthropic's wire."""

from __future__ import annotations

import orjson
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from vortex.engine.counting import counter_of
from vortex.server.answer import unless_gone
from vortex.server.bodies.anthropic import CountBody, MessagesBody
from vortex.server.bodies.reading import read_body
from vortex.server.exchange import Asked, exchange
from vortex.server.render.anthropic import MessageWriter
from vortex.server.serving import Serving

router = APIRouter()


@router.post("/v1/messages", response_model=None)
async def messages(request: Request) -> Response:
    """Answer a conversation in Anthropic's shape, whole or as a stream of typed events."""
    serving: Serving = request.app.state.serving
    body = await read_body(request, MessagesBody)
    request_id: str = request.state.request_id
    asked = Asked(
        request=body.to_request(request_id, serving.options),
        messages=body.chat_messages() if serving.episodes else (),
        stream=bool(body.stream),
    )
    return await exchange(
        request, asked, lambda answer, closing: MessageWriter(request_id, answer.started, body.notes(), closing)
    )


@router.post("/v1/messages/count_tokens", response_model=None)
async def count_tokens(request: Request) -> Response:
    """The tokens of a prompt, as the model would read it."""
    serving: Serving = request.app.state.serving
    body = await read_body(request, CountBody)
    asked = body.prompt_request(request.state.request_id, serving.options)
    ids = await unless_gone(request, counter_of(serving.backend).prompt_token_ids(asked))
    return Response(orjson.dumps({"input_tokens": len(ids)}), media_type="application/json")
