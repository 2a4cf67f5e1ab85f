"""`POST /v1/feedback`: a person's judgement of an answer; with a better answer it becomes a training event."""

from __future__ import annotations

from typing import Any

import orjson
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from vortex.knowledge.grounding.lesson_desk import LessonDesk
from vortex.records.episodes import Feedback, TrainingEvent
from vortex.server.bodies.reading import read_body
from vortex.server.bodies.small import FeedbackBody
from vortex.server.errors import Refusal
from vortex.server.serving import Serving

router = APIRouter()


@router.post("/v1/feedback", response_model=None)
async def feedback(request: Request) -> Response:
    """Rate an answer by its request id. Feedback on the same answer replaces what was said before."""
    serving: Serving = request.app.state.serving
    body = await read_body(request, FeedbackBody)
    assert serving.episodes is not None, "the route exists only where episodes are kept"
    given = Feedback(request_id=body.request_id, rating=body.rating, ideal_response=body.ideal_response)
    known, event = await serving.episodes.give_feedback(given)
    if not known:
        message = f"no answer with the request_id {body.request_id!r} is on record"
        raise Refusal(404, message, param="request_id", code="request_not_found")
    answer: dict[str, Any] = {
        "request_id": body.request_id,
        "rating": body.rating,
        "training_event": event is not None,
    }
    if serving.lessons is not None:
        answer |= await _teach(serving.lessons, event, body.request_id)
    return Response(orjson.dumps(answer), media_type="application/json")


async def _teach(lessons: LessonDesk, event: TrainingEvent | None, request_id: str) -> dict[str, Any]:
    """The lesson that a correction makes: `lesson` is its id, or null with `held_back` saying why."""
    if event is None:
        await lessons.forget(request_id)
        return {"lesson": None}
    question = event.messages[-1].get("content") if event.messages else None
    if not isinstance(question, str) or event.messages[-1].get("role") != "user":
        return {"lesson": None, "held_back": ["the last message is no question in words"]}
    entry, reasons = await lessons.teach(question, event.response, request_id)
    return {"lesson": entry.id} if entry else {"lesson": None, "held_back": reasons}
