"""One request of somebody who is inside: what they asked, with what the views share."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from vortex.console.contracts import Desks, Json, Seen
from vortex.console.doors import form_token
from vortex.console.guard import HEADERS, Refused
from vortex.console.local_api import LocalApi
from vortex.console.rendering import Frame, page
from vortex.console.show.figures import Recorder
from vortex.console.words.choosing import LANGUAGES, Look

Result = TypeVar("Result")
KNOWN_WORDS = frozenset(LANGUAGES["en"])
SAYINGS = frozenset(word for word in KNOWN_WORDS if word.startswith("said_"))


@dataclass(slots=True, kw_only=True)
class Visit:
    """session: empty where nobody is inside. form: the fields of a change, whose token was checked."""

    request: Request
    desks: Desks
    recorder: Recorder
    look: Look
    session: str = ""
    form: Mapping[str, str] = field(default_factory=dict)

    @property
    def api(self) -> LocalApi:
        return LocalApi(self.request)

    @property
    def said(self) -> str | None:
        """What was just done, told once more on the page that follows; one of our own sentences, never the URL's."""
        word = f"said_{self.request.query_params.get('said', '')}"
        return word if word in SAYINGS else None

    def seen(self, identifier: str) -> Seen:
        return Seen(identifier, self.form.get("hash", ""), self.form.get("state", ""))

    def reason(self) -> str:
        reason = self.form.get("reason", "").strip()
        if not reason:
            raise Refused(422, "no_reason")
        return reason[:500]

    async def page(self, template: str, place: str, status: int = 200, **values: Any) -> Response:
        waiting = await self.in_thread(lambda: len(waiting_things(self.desks)))
        frame = Frame(
            look=self.look,
            token=form_token(self.session) if self.session else "",
            place=place,
            path=self.request.url.path if self.request.method == "GET" else f"/console/{place}",
            waiting=waiting,
        )
        return page(template, frame, status, known_words=KNOWN_WORDS, **values)

    async def in_thread(self, work: Callable[[], Result]) -> Result:
        return await asyncio.to_thread(work)


def then(path: str, said: str | None = None) -> Response:
    """To the page that shows what came of a change: a reload does not do it again."""
    return RedirectResponse(f"{path}?said={said}" if said else path, 303, dict(HEADERS))


def open_candidates(desks: Desks) -> list[Json]:
    return [run for run in desks.candidates.runs() if run["state"] in {"quarantine", "approved", "damaged"}]


def open_patches(desks: Desks) -> list[Json]:
    return [patch for patch in desks.patches.queued() if patch["state"] in {"proposed", "tampered"}]


def unread_memories(desks: Desks) -> list[Json]:
    return [entry for entry in desks.memories.entries() if not entry["kept"]]


def waiting_things(desks: Desks) -> list[Json]:
    """What waits for a word: not what is broken, and not what cannot be approved anyway."""
    candidates = [run for run in open_candidates(desks) if run["state"] != "damaged"]
    patches = [patch for patch in open_patches(desks) if patch["state"] == "proposed"]
    return [*desks.questions.waiting(), *candidates, *patches, *unread_memories(desks)]
