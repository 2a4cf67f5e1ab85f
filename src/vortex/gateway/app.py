"""The gateway behind its front: paths, the guard before them, and the life of everything behind.

Each request runs in its own task; when its client leaves, the front cancels the task, and with it the request at the
engine. Does not do: TLS (a reverse proxy's work), web pages.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any

import orjson

from vortex.gateway.admission import Admission
from vortex.gateway.booking import Books
from vortex.gateway.chat import ChatService
from vortex.gateway.controller import MIN_CONCURRENCY, Homeostat
from vortex.gateway.dispatch import Dispatcher
from vortex.gateway.guard import Guard
from vortex.gateway.http.wire import Refusal, Reply, Request
from vortex.gateway.ledger import Ledger
from vortex.gateway.metrics import Metrics
from vortex.gateway.sessions import Sessions
from vortex.gateway.settings import GatewaySettings
from vortex.gateway.upstreams import Upstreams

log = logging.getLogger("vortex.gateway")
CHAT_PATHS = frozenset({"/v1/chat/completions", "/v1/completions"})
ADMIN_LIMIT_BYTES = 4096


class Gateway:
    def __init__(self, settings: GatewaySettings) -> None:
        self.settings = settings
        self.upstreams = Upstreams(settings)
        limits = settings.admission
        self.admission = Admission(
            limit=limits.max_in_flight, max_queue=limits.max_queue, queue_timeout_s=limits.queue_timeout_s
        )
        self.homeostat = Homeostat(settings.controller)
        self.ledger = Ledger(settings.ledger)
        self.metrics = Metrics()
        self._guard = Guard(settings)
        self._books = Books(self.admission, Sessions(), self.homeostat, self.metrics, self.ledger)
        self._dispatcher = Dispatcher(self.upstreams, settings, self.metrics)
        self._chat = ChatService(settings, self._dispatcher, self._books)
        self._ticker: asyncio.Task[None] | None = None
        self._started_at = time.monotonic()

    # --- life ---

    async def start(self) -> None:
        self.ledger.open()
        self.ledger.policy(self.settings.decision, self.settings.controller)
        await self.upstreams.start()
        if self.settings.controller.controller != "off":
            self._ticker = asyncio.create_task(self._tick())

    async def stop(self) -> None:
        if self._ticker is not None:
            self._ticker.cancel()
            await asyncio.gather(self._ticker, return_exceptions=True)
        await self.upstreams.stop()
        self.ledger.flush()

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(self.settings.controller.tick_s)
            seen = self.homeostat.measure(time.monotonic(), self.admission.queued)
            before = self.homeostat.state
            after = self.homeostat.tick(seen)
            if after != before:
                self.ledger.tick(seen, before, after)
            limit = self.settings.admission.max_in_flight * after.concurrency_factor
            self.admission.set_limit(max(round(limit), 1))

    # --- requests ---

    def refuse(self, request: Request) -> Refusal | None:
        return self._guard.refuse(request.path, request.headers)

    async def serve(self, request: Request, reply: Reply) -> None:
        try:
            if _goes_on(request.path):
                await self._forward(request, reply)
            else:
                await self._own(request, reply)
        except Exception:
            log.exception("request %s failed inside the gateway", request.id)
            if not reply.started:
                reply.error(500, f"a defect of the gateway; its log tells more about {request.id}", "internal")

    async def _forward(self, request: Request, reply: Reply) -> None:
        parsed = _object(request.body)
        if parsed is None and request.path in CHAT_PATHS:
            reply.error(400, "the request's body is not a JSON object", "invalid_json")
        elif request.path == "/v1/chat/completions" and not isinstance((parsed or {}).get("messages"), list):
            reply.error(400, "`messages` must be a list", "invalid_messages")
        else:
            await self._chat.serve(request, reply, parsed)

    async def _own(self, request: Request, reply: Reply) -> None:
        match (request.method, request.path):
            case ("GET", "/v1/models"):
                await self._models(reply)
            case ("GET", "/healthz" | "/health"):
                reply.json(200 if self.upstreams.healthy else 503, self.health())
            case ("GET", "/metrics"):
                state, frozen = self.homeostat.state, self.homeostat.frozen
                body = self.metrics.render(self.upstreams, self.admission, state, frozen=frozen)
                reply.whole(200, [(b"content-type", b"text/plain; version=0.0.4; charset=utf-8")], body)
            case ("GET", "/lkn/state"):
                reply.json(200, self._state())
            case ("POST", "/lkn/controller"):
                self._set_controller(reply, request.body[:ADMIN_LIMIT_BYTES])
            case _:
                reply.error(404, f"nothing is served at {request.method} {request.path[:100]}", "not_found")

    async def _models(self, reply: Reply) -> None:
        """What the engines offer; what they offered last while they are away."""
        fresh = await self.upstreams.fetch_models()
        cards = self.upstreams.models()
        if not fresh and not cards:
            wait = [(b"retry-after", b"5"), (b"x-should-retry", b"false")]
            reply.error(503, "no engine has answered yet: start one, see `vortex up`", "engine_away", wait)
            return
        headers = [(b"x-lkn-models", b"fresh" if fresh else b"cached")]
        reply.json(200, {"object": "list", "data": cards}, headers)

    def _set_controller(self, reply: Reply, body: bytes) -> None:
        frozen = (_object(body) or {}).get("frozen")
        if not isinstance(frozen, bool):
            reply.error(400, 'send {"frozen": true} or {"frozen": false}', "invalid_json")
            return
        self.homeostat.freeze(frozen)
        reply.json(200, self._state())

    def health(self) -> dict[str, Any]:
        return {
            "status": "ok" if self.upstreams.healthy else "engine_away",
            "mode": self.settings.decision.mode,
            "strategy": self.settings.decision.strategy,
            "uptime_s": round(time.monotonic() - self._started_at, 1),
            "active": self.admission.active,
            "queued": self.admission.queued,
            "upstreams": [upstream.describe() for upstream in self.upstreams.all],
        }

    def _state(self) -> dict[str, Any]:
        return {
            "frozen": self.homeostat.frozen,
            "controller": self.homeostat.state,
            "limit": self.admission.limit,
            "least_limit": max(1, round(self.settings.admission.max_in_flight * MIN_CONCURRENCY)),
            "policy": self.settings.decision,
        }


def _goes_on(path: str) -> bool:
    """Whether a path is the engine's: below /v1/, without a way out of it."""
    return path.startswith("/v1/") and path != "/v1/models" and ".." not in path.split("/")


def _object(body: bytes) -> dict[str, Any] | None:
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    return value if isinstance(value, dict) else None
