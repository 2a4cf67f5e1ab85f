"""The console's routes: each request through the guard, each failure a page of its own, in the reader's language."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import orjson
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from vortex.console.contracts import Desks
from vortex.console.doors import SESSION_S, Doors, form_token
from vortex.console.guard import HEADERS, TOKEN_HEADER, Guard, Refused, cookie_name, read_form
from vortex.console.local_api import LocalApi
from vortex.console.rendering import Frame, page, static_files
from vortex.console.show.figures import Recorder
from vortex.console.views import chat, deciding, history, state
from vortex.console.views.visit import Visit, then
from vortex.console.words.choosing import COOKIE, LANGUAGES, THEMES, Look, look_of
from vortex.errors import VortexError

View = Callable[[Visit], Awaitable[Response]]
Endpoint = Callable[[Request], Awaitable[Response]]
FOR_EVER = "public, max-age=31536000, immutable"
LOOK_S = 365 * 86400


@dataclass(frozen=True, slots=True)
class Console:
    """doors: who may come in. desks: what is shown and decided."""

    desks: Desks
    doors: Doors
    recorder: Recorder = field(default_factory=Recorder)

    def routes(self) -> Sequence[BaseRoute]:
        """For whoever serves the model; all below `/console`."""
        pages: dict[str, View] = {
            "/console": _first_page,
            "/console/chat": chat.chat,
            "/console/decide": deciding.overview,
            "/console/decide/list": deciding.overview_part,
            "/console/decide/count": deciding.count_part,
            "/console/decide/candidates/{run_id}": deciding.candidate,
            "/console/decide/patches/{patch_id}": deciding.patch,
            "/console/history": history.history,
            "/console/state": state.state,
            "/console/state/figures": state.figures_part,
        }
        changes: dict[str, View] = {
            "/console/decide/candidates/{run_id}": deciding.decide_candidate,
            "/console/decide/patches/{patch_id}": deciding.decide_patch,
            "/console/decide/questions/{question_id}": deciding.answer_question,
            "/console/decide/memories/{entry_id}": deciding.decide_memory,
            "/console/history/back": history.go_back,
            "/console/look": self._look,
            "/console/leave": self._leave,
        }
        return [
            Route("/console/enter", self._outside(self._enter), methods=["GET"]),
            Route("/console/static/{name}", _static, methods=["GET"]),
            *(Route(path, self._shown(view), methods=["GET"]) for path, view in pages.items()),
            *(Route(path, self._changed(view), methods=["POST"]) for path, view in changes.items()),
            Route("/console/api/markdown", self._scripted(chat.readable), methods=["POST"]),
            *(Route(f"/console/api/{name}", _Forward(self, path)) for name, path in chat.FORWARDED.items()),
            Route("/console/{rest:path}", self._shown(_nothing), methods=["GET"]),
        ]

    def guard(self) -> Guard:
        return Guard(self.doors)

    def visit(self, request: Request) -> Visit:
        look = look_of(request.cookies.get(COOKIE), request.headers.get("accept-language"))
        return Visit(request=request, desks=self.desks, recorder=self.recorder, look=look)

    async def admit(self, visit: Visit) -> None:
        """Raises Refused."""
        self.guard().check_page(visit.request)
        visit.session = await asyncio.to_thread(self.guard().session, visit.request)

    def _shown(self, view: View) -> Endpoint:
        async def show(visit: Visit) -> Response:
            await self.admit(visit)
            return await view(visit)

        return self._outside(show)

    def _changed(self, view: View) -> Endpoint:
        async def change(visit: Visit) -> Response:
            await self.admit(visit)
            visit.form = await read_form(visit.request)
            self.guard().check_token(visit.session, visit.form.get("token"))
            return await view(visit)

        return self._outside(change)

    def _scripted(self, view: View) -> Endpoint:
        async def change(visit: Visit) -> Response:
            await self.admit(visit)
            self.guard().check_token(visit.session, visit.request.headers.get(TOKEN_HEADER))
            return await view(visit)

        return self._outside(change)

    def _outside(self, view: View) -> Endpoint:
        """A view whose refusals are pages."""

        async def answer(request: Request) -> Response:
            visit = self.visit(request)
            try:
                return await view(visit)
            except Refused as refused:
                return _refusal(visit, refused)
            except VortexError as error:
                return await visit.page("refused", "decide", 409, reason="", message=str(error))

        return answer

    async def _enter(self, visit: Visit) -> Response:
        """With a one-time key in; the key leaves the address bar with the redirect."""
        self.guard().check_page(visit.request)
        key = visit.request.query_params.get("key", "")
        session = await asyncio.to_thread(self.doors.enter, key)
        if session is None:
            return page("outside", Frame(look=visit.look), 403, title="link_title", text="link_text")
        response = RedirectResponse("/console", 303, dict(HEADERS))
        response.set_cookie(
            cookie_name(visit.request), session, max_age=int(SESSION_S), path="/console", httponly=True,
            samesite="strict", secure=visit.request.scope["scheme"] == "https",
        )  # fmt: skip
        return response

    async def _leave(self, visit: Visit) -> Response:
        await asyncio.to_thread(self.doors.leave, visit.session)
        response = then("/console")
        response.delete_cookie(cookie_name(visit.request), path="/console", httponly=True, samesite="strict")
        return response

    async def _look(self, visit: Visit) -> Response:
        language, theme = visit.form.get("language", ""), visit.form.get("theme", "")
        back = visit.form.get("back", "")
        inside = back.startswith("/console") and "//" not in back and "\\" not in back and back.isprintable()
        response = then(back if inside else "/console")
        if language in LANGUAGES and theme in THEMES:
            response.set_cookie(
                COOKIE, Look(language, theme).cookie, max_age=LOOK_S, path="/console", httponly=True, samesite="strict"
            )
        return response


class _Forward:
    """A call of the page's script, handed to the server's own API after the guard."""

    def __init__(self, console: Console, path: str) -> None:
        self._console, self._path = console, path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope)
        visit = self._console.visit(request)
        try:
            if request.method != "POST":
                raise Refused(405, "not_found")
            await self._console.admit(visit)
            self._console.guard().check_token(visit.session, request.headers.get(TOKEN_HEADER))
        except Refused as refused:
            await _json_refusal(visit, refused)(scope, receive, send)
            return
        await LocalApi(request).forward(self._path, receive, send)


async def _first_page(visit: Visit) -> Response:
    return then("/console/decide")


async def _nothing(visit: Visit) -> Response:
    raise Refused(404, "not_found")


async def _static(request: Request) -> Response:
    found = static_files().get(request.path_params["name"])
    if found is None:
        return Response(status_code=404, headers=dict(HEADERS))
    headers = {**HEADERS, "cache-control": FOR_EVER}
    return Response(found[0], headers=headers, media_type=found[1])


def _refusal(visit: Visit, refused: Refused) -> Response:
    if refused.status == 401:
        if visit.request.headers.get("x-part"):  # a part of a page that is open still: it keeps what it shows
            return HTMLResponse("", 401, dict(HEADERS))
        return page("outside", Frame(look=visit.look), 401, title="outside_title", text="outside_text")
    token = form_token(visit.session) if visit.session else ""
    frame = Frame(look=visit.look, token=token, path="/console/decide")
    return page("refused", frame, refused.status, reason=refused.reason, message="")


def _json_refusal(visit: Visit, refused: Refused) -> Response:
    body = {"error": {"message": visit.look.translate(refused.reason), "code": refused.reason}}
    return Response(orjson.dumps(body), refused.status, dict(HEADERS), "application/json")
