"""The engines behind the gateway: which one takes a request, which are ejected, what models they offer.

Among those whose breaker lets requests through and which offer the model: the conversation's home (affinity.py), else
the least loaded. Engines are fixed at start; no client names one.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

import orjson

from vortex.gateway.affinity import home
from vortex.gateway.breaker import Breaker, BreakerState
from vortex.gateway.http.client import HttpClient, UpstreamFailure
from vortex.gateway.http.engine_connection import Header
from vortex.gateway.settings import GatewaySettings

log = logging.getLogger("vortex.gateway")
MODELS_TIMEOUT_S = 2.0
MODELS_LIMIT_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Route:
    """What a request says about where it belongs: its model's name, and its conversation. Empty: anywhere."""

    model: str = ""
    conversation: str = ""


ANYWHERE = Route()


@dataclass(slots=True, eq=False)
class Upstream:
    """One engine. `reachable` is what the last look said (None: not looked yet); the breaker decides on requests."""

    name: str
    url: str
    client: HttpClient
    breaker: Breaker
    in_flight: int = 0
    reachable: bool | None = None
    last_error: str = ""
    models: list[dict[str, Any]] = field(default_factory=list)

    @property
    def model_names(self) -> list[str]:
        return [str(card.get("id")) for card in self.models]

    def enter(self) -> None:
        self.in_flight += 1
        self.breaker.enter()

    def succeed(self) -> None:
        self.in_flight -= 1
        self.breaker.succeed()

    def fail(self, error: str) -> None:
        self.in_flight -= 1
        self.last_error = error
        self.breaker.fail()

    def leave(self) -> None:
        self.in_flight -= 1
        self.breaker.leave()

    def describe(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "breaker": self.breaker.state.value,
            "retry_after_s": round(self.breaker.retry_after_s, 1),
            "reachable": self.reachable,
            "in_flight": self.in_flight,
            "last_error": self.last_error,
            "models": self.model_names,
        }


class Upstreams:
    def __init__(self, settings: GatewaySettings) -> None:
        self._settings = settings
        self._key = settings.addresses.engine_api_key
        self._watcher: asyncio.Task[None] | None = None
        self.all = [self._upstream(index, url) for index, url in enumerate(settings.addresses.engine_urls)]

    def _upstream(self, index: int, url: str) -> Upstream:
        rules = self._settings.upstream
        breaker = Breaker(failures=rules.breaker_failures, reset_s=rules.breaker_reset_s, clock=time.monotonic)
        client = HttpClient(url, connect_timeout_s=self._settings.timeouts.connect_timeout_s)
        return Upstream(name=f"engine-{index}", url=url, client=client, breaker=breaker)

    def choose(self, route: Route = ANYWHERE, avoid: Collection[Upstream] = ()) -> Upstream | None:
        """The engine that takes a request, reachable ones first; None when every breaker is open."""
        fitting = self._offering(route.model)
        open_to = [upstream for upstream in fitting if upstream.breaker.available and upstream not in avoid]
        there = [upstream for upstream in open_to if upstream.reachable is not False] or open_to
        bound = self._settings.upstream.affinity_bound
        if len(there) > 1 and route.conversation and bound:
            return home(there, route.conversation, bound)
        return min(there, key=lambda upstream: upstream.in_flight, default=None)

    def _offering(self, model: str) -> list[Upstream]:
        """Those that offer the model, or have not said what they offer; all where none does: theirs is the error."""
        if not model or len(self.all) == 1:
            return self.all
        return [one for one in self.all if not one.models or model in one.model_names] or self.all

    @property
    def retry_after_s(self) -> float:
        return min(upstream.breaker.retry_after_s for upstream in self.all)

    @property
    def healthy(self) -> bool:
        return any(up.reachable and up.breaker.state is not BreakerState.OPEN for up in self.all)

    def headers(self, content_type: bytes = b"application/json") -> list[Header]:
        """What the gateway tells an engine. The client's own key stays here."""
        headers = [(b"content-type", content_type), (b"accept", b"*/*"), (b"user-agent", b"vortex-gateway")]
        if self._key:
            headers.append((b"authorization", b"Bearer " + self._key.encode()))
        return headers

    # --- models ---

    async def fetch_models(self) -> bool:
        """Ask every engine for its models; what it offered last stays while it is away. False if none answered."""
        answers = await asyncio.gather(*(self._look_at(upstream) for upstream in self.all))
        return any(answers)

    def models(self) -> list[dict[str, Any]]:
        cards = {str(card.get("id")): card for upstream in self.all for card in upstream.models}
        return list(cards.values())

    async def _look_at(self, upstream: Upstream) -> bool:
        before = upstream.reachable
        await self._ask_models(upstream)
        if upstream.reachable and not before:
            log.info("%s at %s answers", upstream.name, upstream.url)
        elif upstream.reachable is False and before is not False:
            log.warning("%s at %s does not answer (%s)", upstream.name, upstream.url, upstream.last_error)
        return upstream.reachable is True

    async def _ask_models(self, upstream: Upstream) -> None:
        response = None
        try:
            async with asyncio.timeout(MODELS_TIMEOUT_S):
                response = await upstream.client.send(b"GET", b"/v1/models", self.headers(), b"")
                await response.head(asyncio.get_running_loop().time() + MODELS_TIMEOUT_S)
                body = orjson.loads(await response.read_all(MODELS_TIMEOUT_S, MODELS_LIMIT_BYTES))
            upstream.reachable = response.status == 200
            if upstream.reachable and isinstance(body, dict) and isinstance(body.get("data"), list):
                upstream.models = [card for card in body["data"] if isinstance(card, dict)]
        except (UpstreamFailure, TimeoutError, orjson.JSONDecodeError) as error:
            upstream.reachable = False
            upstream.last_error = str(error) or "no answer to /v1/models"
        finally:
            if response is not None:
                response.close()

    # --- life ---

    async def start(self) -> None:
        if self._settings.upstream.health_interval_s > 0:
            self._watcher = asyncio.create_task(self._watch())

    async def _watch(self) -> None:
        while True:
            await self.fetch_models()
            await asyncio.sleep(self._settings.upstream.health_interval_s)

    async def stop(self) -> None:
        if self._watcher is not None:
            self._watcher.cancel()
            await asyncio.gather(self._watcher, return_exceptions=True)
        for upstream in self.all:
            upstream.client.close()
