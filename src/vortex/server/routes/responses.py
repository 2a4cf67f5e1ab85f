"""`POST /v1/responses`: the stateless core of the Responses API."""

from __future__ import annotations

import orjson
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from vortex.server.answer import LiveAnswer, unless_gone
from vortex.server.bodies.reading import read_body
from vortex.server.bodies.responses import ResponsesBody
from vortex.server.grounding import begin_grounded
from vortex.server.render.responses import ResponseWriter
from vortex.server.serving import Serving
from vortex.server.sse import SseResponse

router = APIRouter()


@router.post("/v1/responses", response_model=None)
async def responses(request: Request) -> Response:
    """Answer input items, whole or as a stream of named events."""
    serving: Serving = request.app.state.serving
    body = await read_body(request, ResponsesBody)
    request_id: str = request.state.request_id
    asked = body.to_request(request_id, serving.options)
    messages = [message.model_dump(exclude_none=True) for message in body.messages()] if serving.episodes else None
    answer, grounded = await begin_grounded(
        serving, request, asked, body.vortex, messages, limit_name="max_output_tokens"
    )
    writer = ResponseWriter(request_id, answer.started.model, body, answer.started.notes)
    writer.closing = lambda: grounded.closing(lambda: answer.gathered)
    if body.stream:
        return SseResponse(writer.frames(answer.events()), answer.close)
    try:
        await unless_gone(request, _write(answer, writer))
    finally:
        await answer.close()
    return Response(orjson.dumps(writer.response("completed")), media_type="application/json")


async def _write(answer: LiveAnswer, writer: ResponseWriter) -> None:
    async for event in answer.events():
        writer.take(event)
