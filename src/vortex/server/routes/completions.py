"""`POST /v1/completions`."""

from __future__ import annotations

import asyncio

import orjson
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from vortex.server.answer import Gathered, LiveAnswer, unless_gone
from vortex.server.bodies.completion import CompletionBody
from vortex.server.bodies.reading import read_body
from vortex.server.render import completion
from vortex.server.serving import Serving
from vortex.server.sse import SseResponse

router = APIRouter()


@router.post("/v1/completions", response_model=None)
async def completions(request: Request) -> Response:
    """Continue one prompt or several, as text or token ids."""
    serving: Serving = request.app.state.serving
    body = await read_body(request, CompletionBody)
    request_id: str = request.state.request_id
    answers: list[LiveAnswer] = []

    async def close_all() -> None:
        for answer in answers:
            await answer.close()

    streaming = False
    try:
        for asked in body.to_requests(request_id, serving.options):
            answers.append(await serving.begin(request, asked))
        fingerprint = serving.fingerprint(answers[0].started)
        if body.stream:
            frames = completion.frames(request_id, fingerprint, answers, with_usage=body.wants_usage)
            streaming = True
            return SseResponse(frames, close_all)
        gathered = await unless_gone(request, _all(answers))
    finally:
        if not streaming:
            await close_all()
    rendered = completion.whole(request_id, fingerprint, gathered, logprobs=body.logprobs is not None)
    return Response(orjson.dumps(rendered), media_type="application/json")


async def _all(answers: list[LiveAnswer]) -> list[Gathered]:
    return list(await asyncio.gather(*(answer.whole() for answer in answers)))
