"""A real gateway before real (fake) engines, in this process, on free ports."""

from __future__ import annotations

import io
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from vortex.backends.fake_engine import FakeEngine, Script
from vortex.gateway.app import Gateway
from vortex.gateway.serve import listen, serving
from vortex.gateway.settings import read_settings

QUICK = {
    "LKN_CONNECT_TIMEOUT_S": "0.5",
    "LKN_FIRST_TOKEN_TIMEOUT_S": "0.4",
    "LKN_GAP_TIMEOUT_S": "0.3",
    "LKN_TOTAL_TIMEOUT_S": "1.5",
    "LKN_KEEPALIVE_S": "0.1",
    "LKN_CLIENT_STALL_S": "0.4",
    "LKN_BREAKER_RESET_S": "0.3",
    "LKN_HEALTH_INTERVAL_S": "0",
    "LKN_CONTROLLER": "off",
    "LKN_LEDGER": "off",
    "LKN_PORT": "0",
}


BOUND = aiohttp.ClientTimeout(total=60)  # whatever a test bounds no tighter still ends


class Running:
    """A started gateway: its address, its inside, and short ways to ask it."""

    def __init__(self, gateway: Gateway, url: str, session: aiohttp.ClientSession) -> None:
        self.gateway = gateway
        self.url = url
        self.session = session

    async def chat(
        self, text: str = "hello", *, fault: str = "", headers: dict[str, str] | None = None, **extra: Any
    ) -> Answer:
        body = {"model": "fake-model", "messages": [{"role": "user", "content": text}], **extra}
        return await self.post("/v1/chat/completions", body, headers)

    async def post(self, path: str, body: Any, headers: dict[str, str] | None = None) -> Answer:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        async with self.session.post(self.url + path, data=io.BytesIO(data), headers=headers) as response:
            return Answer(response.status, dict(response.headers), await response.read())

    async def get(self, path: str, headers: dict[str, str] | None = None) -> Answer:
        async with self.session.get(self.url + path, headers=headers) as response:
            return Answer(response.status, dict(response.headers), await response.read())


class Answer:
    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.status = status
        self.headers = {name.lower(): value for name, value in headers.items()}
        self.body = body

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def mode(self) -> str:
        return self.headers["x-lkn-mode"]

    @property
    def events(self) -> list[Any]:
        """Every event of a stream, [DONE] as the string; fails when the stream is not well-formed."""
        assert self.body.endswith(b"\n\n"), self.body[-80:]
        found = []
        for event in self.body.decode().split("\n\n")[:-1]:
            if event.startswith(":"):
                continue
            assert event.startswith("data: "), event
            data = event.removeprefix("data: ")
            found.append(data if data == "[DONE]" else json.loads(data))
        assert [index for index, event in enumerate(found) if event == "[DONE]"] == [len(found) - 1], found[-2:]
        return found

    @property
    def text(self) -> str:
        chunks = [event for event in self.events if event != "[DONE]" and event.get("choices")]
        return "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks)

    @property
    def error(self) -> Any:
        """The error of a stream that ended badly but well-formed."""
        return next(event["error"] for event in self.events if event != "[DONE]" and event.get("error"))


@asynccontextmanager
async def gateway_before(*engines: str, **variables: str) -> AsyncIterator[Running]:
    environment = {**QUICK, "ENGINE_BASE_URL": ",".join(engines), **variables}
    listener = listen("127.0.0.1", 0)
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    async with (
        serving(read_settings(environment, {}), listener) as gateway,
        aiohttp.ClientSession(timeout=BOUND) as session,
    ):
        yield Running(gateway, url, session)


@asynccontextmanager
async def engine(script: Script | None = None) -> AsyncIterator[FakeEngine]:
    fake = FakeEngine(script)
    await fake.start()
    try:
        yield fake
    finally:
        await fake.stop()


@asynccontextmanager
async def both(script: Script | None = None, **variables: str) -> AsyncIterator[tuple[FakeEngine, Running]]:
    async with engine(script) as fake, gateway_before(fake.url, **variables) as running:
        yield fake, running


def ledger_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]
