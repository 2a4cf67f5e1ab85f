"""The application: routes, their errors, and the middleware around them, from the outside in.

plain paths → request id → counting → CORS (only with allowed origins) → host, origin, key → body limit → last net
→ routes
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from vortex import __version__
from vortex.errors import VortexError
from vortex.knowledge.grounding.desk import Desk
from vortex.knowledge.grounding.lesson_desk import LessonDesk
from vortex.protocols import ChatBackend, ManagesModels
from vortex.records.episodes import EpisodeStore
from vortex.server import errors, openapi
from vortex.server.access import AccessControl
from vortex.server.answer import ClientGone
from vortex.server.body_limit import BodyLimit
from vortex.server.catch_all import CatchAll
from vortex.server.episode_log import EpisodeLog
from vortex.server.metrics import CountRequests
from vortex.server.options import ServerOptions
from vortex.server.plain_paths import PlainPaths
from vortex.server.request_id import RequestId
from vortex.server.routes import (
    chat,
    completions,
    embeddings,
    feedback,
    health,
    messages,
    models,
    ollama,
    responses,
    tokens,
)
from vortex.server.routes import places as places_routes
from vortex.server.routes.doctor import doctor_router
from vortex.server.routes.pages import pages_router
from vortex.server.serving import Checkups, Serving


def create_app(
    backend: ChatBackend,
    options: ServerOptions,
    checkups: Checkups | None = None,
    desk: Desk | None = None,
    lessons: LessonDesk | None = None,
    *,
    pages: Sequence[BaseRoute] = (),
    places: ManagesModels | None = None,
) -> FastAPI:
    """An app that closes the backend and the desk when it shuts down. Nothing is written or opened before it starts
    up. desk: looks questions up. lessons: offers what was corrected at once. places: opens and closes models (part of
    the backend). None: nobody does. pages: further routes, for people; what is below `/console` is asked for no key and
    must ask who is there itself."""
    serving = Serving(
        backend=backend,
        options=options,
        checkups=checkups or Checkups(),
        desk=desk,
        lessons=lessons,
        places=places,
    )
    app = FastAPI(
        title="Vortex",
        version=__version__,
        description="Your own language model behind OpenAI's wire.",
        redirect_slashes=False,
        docs_url=None,  # FastAPI's pages load theirs from other hosts: routes/pages.py
        redoc_url=None,
        lifespan=lambda app: _lifespan(serving),
        middleware=_middleware(serving),
        exception_handlers={
            VortexError: errors.on_vortex_error,
            HTTPException: errors.on_http_exception,
            ClientGone: _on_client_gone,
        },
    )
    app.state.serving = serving
    _add_routes(app, serving, pages)
    return app


def _add_routes(app: FastAPI, serving: Serving, pages: Sequence[BaseRoute]) -> None:
    """Looked through in this order."""
    for group in (chat, completions, responses, messages, embeddings, models, ollama, tokens, health):
        app.include_router(group.router)
    if serving.options.episodes_dir is not None:
        app.include_router(feedback.router)
    if serving.places is not None:
        app.include_router(places_routes.router)
    app.include_router(doctor_router(serving.checkups))
    app.router.routes.extend(pages)
    described = openapi.document(app)
    app.include_router(pages_router(described, has_console=bool(pages)))
    app.openapi = lambda: described  # type: ignore[method-assign]  # FastAPI's own way to replace the document


@asynccontextmanager
async def _lifespan(serving: Serving) -> AsyncIterator[None]:
    if serving.options.episodes_dir is not None:
        serving.episodes = EpisodeLog(EpisodeStore(serving.options.episodes_dir))
    try:
        yield
    finally:
        await serving.backend.close()
        if serving.desk is not None:
            serving.desk.close()
        if serving.lessons is not None:
            serving.lessons.close()
        if serving.episodes is not None:
            serving.episodes.close()


def _middleware(serving: Serving) -> list[Middleware]:
    options = serving.options
    stack = [Middleware(PlainPaths), Middleware(RequestId), Middleware(CountRequests, metrics=serving.metrics)]
    if options.allowed_origins:
        origins = list(options.allowed_origins)
        stack.append(Middleware(CORSMiddleware, allow_origins=origins, allow_methods=["*"], allow_headers=["*"]))
    stack.append(Middleware(AccessControl, options=options))
    return [*stack, Middleware(BodyLimit, limit_bytes=options.limits.body_bytes), Middleware(CatchAll)]


async def _on_client_gone(request: Request, error: Exception) -> Response:
    return Response(status_code=499)  # nginx's number for it; nobody reads this, the counters do
