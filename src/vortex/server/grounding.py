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
from vortex.knowledge.memory.entries import Entry
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

    @property
    def is_plain(self) -> bool:
        return self.request is self.plain

    def without_quotations(self) -> GroundedRequest:
        return GroundedRequest(self.plain, self.plain, None, self.remembered)

    def closing(self, gathered: Callable[[], Gathered]) -> dict[str, Any]:
        """Fields that the answer carries; empty where nothing was found and nothing remembered."""
        fields: dict[str, Any] = {}
        if self.grounded is not None and self.grounded.quotations:
            text = gathered().choices[0].text
            fields["citations"] = [citation.to_json() for citation in self.grounded.citations(text)]
        if self.remembered is not None:
            fields["vortex"] = {"remembered": {"id": self.remembered.id, "text": self.remembered.text}}
        return fields

    @property
    def sources(self) -> list[str]:
        """What stands quoted in the conversation: an episode names it, so that nobody learns from it unawares."""
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
    grounded = await unless_gone(request, ground(asked, serving.desk, extension))
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


async def ground(request: ChatRequest, desk: Desk | None, extension: Extension | None) -> GroundedRequest:
    if desk is None or not request.messages:
        return GroundedRequest(request, request)
    remembered = await desk.remember_if_asked(request.messages, request.request_id)
    if remembered is not None or (extension is not None and extension.wants_no_sources):
        return GroundedRequest(request, request, None, remembered)
    grounded = await desk.ground(request.messages, extension.sources if extension else None)
    if not grounded.quotations:
        return GroundedRequest(request, request)
    return GroundedRequest(dataclasses.replace(request, messages=grounded.messages), request, grounded)
