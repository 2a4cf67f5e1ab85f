"""The real console over the shipped fake engine: in this process for quick tests, its folders in `tmp_path`."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.learn.candidates_made import promotion
from vortex.backends.fake import FakeBackend
from vortex.cli.console.candidates import LearningDesk
from vortex.cli.console.memories import MemoryDesk
from vortex.cli.console.patches import PatchDesk
from vortex.cli.console.questions import QuestionDesk
from vortex.config.loading import LoadedSettings, SettingsSources, load_settings
from vortex.console.app import Console
from vortex.console.contracts import Desks
from vortex.console.doors import Doors
from vortex.knowledge.grounding.lesson_desk import LessonDesk, SameQuestion
from vortex.knowledge.memory.folder import Memory
from vortex.learn.candidates.promotion import Promotion
from vortex.learn.candidates.runs import Runs
from vortex.protocols import ChatBackend
from vortex.server.app import create_app
from vortex.server.options import ServerOptions
from vortex.server.process import bind, server_for
from vortex.server.serving import Checkups


class TinyLearning(LearningDesk):
    """The desk as it is, for the random adapters of a model of two small layers."""

    def _promotion(self) -> Promotion:
        return promotion(self._runs)


def report() -> dict[str, object]:
    findings = [
        {"status": "ok", "name": "kernels", "text": "native, AVX-512", "fix": ""},
        {
            "status": "missing",
            "name": "GPU",
            "text": "no CUDA device <b>here</b>",
            "fix": "pip install 'klimeai[torch]'",
        },
    ]
    return {"ok": True, "findings": findings}


@dataclass(frozen=True)
class Place:
    """data: what VORTEX_DATA names. doors: of the console."""

    data: Path
    doors: Doors
    repository: Path

    @property
    def runs(self) -> Runs:
        return Runs(self.data / "continuous")

    @property
    def patches(self) -> Path:
        return self.data / "patches"

    @property
    def memory(self) -> Memory:
        return Memory(self.data / "memory")


def settings() -> LoadedSettings:
    return load_settings(
        SettingsSources(profile=None, assignments=["model.backend=fake"], flags={"model.name": "tiny"})
    )


@contextmanager
def serving(
    place: Place,
    backend: ChatBackend | None = None,
    options: ServerOptions | None = None,
    *,
    port: int = 0,
    model: str = "tiny",
) -> Iterator[str]:
    """The address of a server with a console."""
    options = options or ServerOptions(episodes_dir=place.data / "episodes")
    desks = Desks(
        candidates=TinyLearning(settings(), lambda: model), patches=PatchDesk(place.repository), memories=MemoryDesk(),
        questions=QuestionDesk(),
    )  # fmt: skip
    lessons = LessonDesk(place.memory, lambda: SameQuestion(place.memory))
    pages = Console(desks, place.doors).routes()
    app = create_app(backend or FakeBackend(), options, Checkups(quick=report), None, lessons, pages=pages)
    listener, ready = bind("127.0.0.1", port), threading.Event()
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


class Person(httpx.Client):
    """Somebody with a browser: what a same-origin page sends, and the token of its forms."""

    def __init__(self, address: str) -> None:
        super().__init__(base_url=address, trust_env=False, verify=False, timeout=20)

    def enter(self, doors: Doors) -> httpx.Response:
        return self.get("/console/enter", params={"key": doors.new_key()}, follow_redirects=True)

    @property
    def token(self) -> str:
        page = self.get("/console/chat").text
        return page.partition('name="vortex-token" content="')[2].partition('"')[0]

    def decide(self, path: str, headers: dict[str, str] | None = None, **fields: str) -> httpx.Response:
        own = {"origin": str(self.base_url).rstrip("/"), "sec-fetch-site": "same-origin", **(headers or {})}
        return self.post(path, data={"token": self.token, **fields}, headers=own)

    def call(self, name: str, body: object, headers: dict[str, str] | None = None) -> httpx.Response:
        own = {"origin": str(self.base_url).rstrip("/"), "x-console-token": self.token, **(headers or {})}
        return self.post(f"/console/api/{name}", json=body, headers=own)
