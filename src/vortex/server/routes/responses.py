"""`POST /v1/responses`, and what it answered: `GET /v1/responses/{id}`, `POST /v1/responses/{id}/cancel`."""

from __future__ import annotations

import orjson
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from vortex.records.episodes import Episode
from vortex.server.bodies.messages import CalledFunction, Message, MessageToolCall
from vortex.server.bodies.reading import read_body
from vortex.server.bodies.responses import ResponsesBody
from vortex.server.errors import Refusal
from vortex.server.exchange import Asked, exchange
from vortex.server.render.responses import ResponseWriter, stored
from vortex.server.serving import Serving

router = APIRouter()


@router.post("/v1/responses", response_model=None)
async def responses(request: Request) -> Response:
    """Answer input items, whole or as a stream of named events."""
    serving: Serving = request.app.state.serving
    body = await read_body(request, ResponsesBody)
    before = await _before(serving, body.previous_response_id) if body.previous_response_id else []
    keeps = body.store is not False
    asked = Asked(
        request=body.to_request(request.state.request_id, serving.options, before),
        messages=body.messages(before) if keeps else (),
        is_kept=keeps,
        stream=bool(body.stream),
        extension=body.vortex,
        limit_name="max_output_tokens",
    )
    return await exchange(request, asked, lambda answer, closing: ResponseWriter(body, answer.started, closing))


@router.get("/v1/responses/{response_id}", response_model=None)
async def one_response(request: Request, response_id: str) -> Response:
    """A response by its id, from its episode."""
    serving: Serving = request.app.state.serving
    if response_id in serving.running:
        return _json({"id": response_id, "object": "response", "status": "in_progress", "output": []})
    return _json(stored(await _episode(serving, response_id)))


@router.post("/v1/responses/{response_id}/cancel", response_model=None)
async def cancel(request: Request, response_id: str) -> Response:
    """End an answer that is under way; one that has ended stays as it is."""
    serving: Serving = request.app.state.serving
    running = serving.running.get(response_id)
    if running is None:
        return _json(stored(await _episode(serving, response_id)))
    running.cancel()
    return _json({"id": response_id, "object": "response", "status": "cancelled", "output": []})


async def _before(serving: Serving, response_id: str) -> list[Message]:
    """The conversation up to and with an earlier answer."""
    episode = await _episode(serving, response_id, "previous_response_id")
    calls = [
        MessageToolCall(id=call["id"], function=CalledFunction(name=call["name"], arguments=call["arguments"]))
        for call in episode.tool_calls
    ]
    answer = Message(
        role="assistant",
        content=episode.answer,
        tool_calls=calls or None,
        reasoning_content=episode.reasoning or None,
    )
    return [*(Message.model_validate(message) for message in episode.messages), answer]


async def _episode(serving: Serving, response_id: str, param: str = "response_id") -> Episode:
    if serving.episodes is None:
        reason = "this server writes nothing down (--no-episodes), so answers cannot be named afterwards"
        raise Refusal(404, reason, param=param, code="not_found")
    episode = await serving.episodes.find(response_id)
    if episode is None:
        message = f"no response with the id {response_id!r} is on record"
        raise Refusal(404, message, param=param, code="not_found")
    return episode


def _json(value: object) -> Response:
    return Response(orjson.dumps(value), media_type="application/json")
