"""A chat request with what was looked up for it, and what its answer carries in return: citations, what was remembered.

Without a desk, or where the request says so, nothing is looked up and nothing changes. Quotations that do not fit the
model's context are left out rather than the request refused.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request

from vortex.errors import ContextOverflow
from vortex.knowledge.grounding.desk import Desk
from vortex.knowledge.grounding.grounding import Grounded
from vortex.knowledge.grounding.lesson_desk import LessonDesk, with_lesson
from vortex.knowledge.memory.entries import Entry
from vortex.knowledge.memory.recall import Recalled
from vortex.server.answer import Gathered, LiveAnswer, unless_gone
from vortex.server.bodies.extension import Extension
from vortex.server.serving import Serving
from vortex.types import ChatRequest


@dataclass(frozen=True, slots=True)
class GroundedRequest:
    """`request`: to ask with. `plain`: as it came."""

    request: ChatRequest
    plain: ChatRequest
    grounded: Grounded | None = None
    remembered: Entry | None = None
    lesson: Recalled | None = None

    @property
    def is_plain(self) -> bool:
        return self.request is self.plain

    def without_quotations(self) -> GroundedRequest:
        return GroundedRequest(self.plain, self.plain, None, self.remembered)

    def closing(self, gathered: Callable[[], Gathered]) -> dict[str, Any]:
        """Fields that the answer carries; empty where nothing was looked up or remembered and no adapter answered."""
        fields: dict[str, Any] = {}
        about: dict[str, Any] = {}
        if self.grounded is not None and self.grounded.quotations:
            text = gathered().choices[0].text
            fields["citations"] = [citation.to_json() for citation in self.grounded.citations(text)]
        if self.remembered is not None:
            about["remembered"] = {"id": self.remembered.id, "text": self.remembered.text}
        if self.lesson is not None:
            about["lessons"] = [_told(self.lesson)]
        if adapter := gathered().started.adapter:
            about["adapter"] = adapter
        return {**fields, "vortex": about} if about else fields

    @property
    def sources(self) -> list[str]:
        """What stands quoted in the conversation: an episode names it, so that nobody learns from it unawares."""
        if self.lesson is not None:
            return [f"lesson/{self.lesson.entry.id}"]
        return sorted({one.source for one in self.grounded.quotations}) if self.grounded else []


async def begin_grounded(
    serving: Serving,
    request: Request,
    asked: ChatRequest,
    extension: Extension | None,
    messages: list[dict[str, Any]] | None,
    *,
    limit_name: str = "max_tokens",
) -> tuple[LiveAnswer, GroundedRequest]:
    """`Serving.begin` with what was looked up. messages: as the client sent them, for the episode."""
    grounded = await unless_gone(request, ground(asked, serving.desk, extension, serving.lessons))
    try:
        answer = await serving.begin(
            request, grounded.request, messages=messages, sources=grounded.sources, limit_name=limit_name
        )
    except ContextOverflow:
        if grounded.is_plain:
            raise
        grounded = grounded.without_quotations()
        answer = await serving.begin(request, asked, messages=messages, limit_name=limit_name)
    return answer, grounded


def _told(lesson: Recalled) -> dict[str, Any]:
    entry = lesson.entry
    return {
        "id": entry.id,
        "question": entry.question,
        "statement": entry.text,
        "similarity": round(lesson.similarity, 4),
    }


async def ground(
    request: ChatRequest, desk: Desk | None, extension: Extension | None, lessons: LessonDesk | None = None
) -> GroundedRequest:
    """A lesson that the question asks for goes before anything that documents say: a person corrected it."""
    if lessons is not None and (extension is None or extension.lessons is not False):
        lesson = await lessons.best(request.messages)
        if lesson is not None:
            asked = dataclasses.replace(request, messages=with_lesson(request.messages, lesson))
            return GroundedRequest(asked, request, lesson=lesson)
    return await _look_up(request, desk, extension)


async def _look_up(request: ChatRequest, desk: Desk | None, extension: Extension | None) -> GroundedRequest:
    if desk is None or not request.messages:
        return GroundedRequest(request, request)
    remembered = await desk.remember_if_asked(request.messages, request.request_id)
    if remembered is not None or (extension is not None and extension.wants_no_sources):
        return GroundedRequest(request, request, None, remembered)
    grounded = await desk.ground(request.messages, extension.sources if extension else None)
    if not grounded.quotations:
        return GroundedRequest(request, request)
    return GroundedRequest(dataclasses.replace(request, messages=grounded.messages), request, grounded)
