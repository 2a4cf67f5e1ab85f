"""A real server on a free port, in a thread of this process, with the shipped fake behind it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager

import httpx
import pytest
from fastapi import APIRouter

from vortex.backends.fake import FakeBackend
from vortex.knowledge.grounding.desk import Desk
from vortex.knowledge.grounding.lesson_desk import LessonDesk
from vortex.protocols import ChatBackend, ManagesModels
from vortex.server.app import create_app
from vortex.server.options import ServerOptions
from vortex.server.process import bind, server_for
from vortex.server.serving import Checkups


@contextmanager
def running(
    backend: ChatBackend | None = None,
    options: ServerOptions | None = None,
    checkups: Checkups | None = None,
    routers: Sequence[APIRouter] = (),
    desk: Desk | None = None,
    lessons: LessonDesk | None = None,
    *,
    places: ManagesModels | None = None,
) -> Iterator[str]:
    """The address of a server that takes requests. routers: beside its own."""
    options = options or ServerOptions()
    listener = bind("127.0.0.1", 0)
    ready = threading.Event()
    app = create_app(backend or FakeBackend(), options, checkups, desk, lessons, places=places)
    for router in routers:
        app.include_router(router)
    server = server_for(app, options, ready.set)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        assert ready.wait(10), "the server did not start"
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(20)
        listener.close()
        assert not thread.is_alive(), "the server did not drain"


@pytest.fixture(scope="session")
def running_server() -> Callable[..., AbstractContextManager[str]]:
    """`running`, for fixtures of a wider scope."""
    return running


@pytest.fixture
def serve() -> Iterator[Callable[..., httpx.Client]]:
    """`serve(backend, options, checkups)` gives an httpx client of a new server; all end with the test."""
    with ExitStack() as stack:

        def start(*arguments: object, **fields: object) -> httpx.Client:
            address = stack.enter_context(running(*arguments, **fields))
            return stack.enter_context(httpx.Client(base_url=address, trust_env=False, timeout=20))

        yield start


@pytest.fixture(scope="session")
def plain() -> Iterator[httpx.Client]:
    """One server that tests share which leave nothing behind."""
    with running() as address, httpx.Client(base_url=address, trust_env=False, timeout=20) as client:
        yield client
