"""From a request body to an engine that answers it: choice of engine, retries before the first byte, fair bookkeeping.

Promises: each engine's breaker hears of every attempt exactly once; an attempt that is given up is cancelled at the
engine; nothing is retried after a byte of an answer came. A 4xx is an answer. A model that is loading is no failure.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from vortex.gateway.http.client import Response, UpstreamFailure
from vortex.gateway.http.wire import Comfort
from vortex.gateway.metrics import Metrics
from vortex.gateway.settings import GatewaySettings
from vortex.gateway.upstreams import ANYWHERE, Route, Upstream, Upstreams

ERROR_BODY_LIMIT_BYTES = 1024 * 1024
ERROR_BODY_TIMEOUT_S = 5.0
LOADING_MARKS = (b"loading", b"starting")


class EngineAway(Exception):
    """No engine takes requests now: every breaker is open."""

    def __init__(self, retry_after_s: float) -> None:
        super().__init__("the engine is not answering; the gateway tries it again by itself")
        self.retry_after_s = retry_after_s


@dataclass(frozen=True, slots=True)
class Call:
    """One request to be made. `comfort` is for the client, while the engine is silent."""

    method: bytes
    path: bytes
    content_type: bytes
    body: bytes
    head_timeout_s: float
    total_at: float  # of the event loop's clock: the end of all attempts together
    comfort: Comfort
    route: Route = ANYWHERE


class Exchange:
    """An engine's answer under way. Settle it once: `succeed`, `fail` or `leave`; later ones change nothing."""

    def __init__(self, upstream: Upstream, response: Response) -> None:
        self.upstream = upstream
        self.response = response
        self.error_body: bytes | None = None
        self.loading = False
        self._settled = False

    def succeed(self) -> None:
        if self._settle():
            self.upstream.succeed()

    def fail(self, error: str) -> None:
        if self._settle():
            self.upstream.fail(error)

    def leave(self) -> None:
        if self._settle():
            self.upstream.leave()

    def _settle(self) -> bool:
        first = not self._settled
        self._settled = True
        self.response.close()
        return first


class Dispatcher:
    def __init__(self, upstreams: Upstreams, settings: GatewaySettings, metrics: Metrics) -> None:
        self._upstreams = upstreams
        self._retries = settings.upstream.retries
        self._metrics = metrics

    async def open(self, call: Call) -> Exchange:
        """An exchange whose status and headers are here. Raises EngineAway, UpstreamFailure."""
        tried: list[Upstream] = []
        failure: UpstreamFailure | None = None
        for attempt in range(self._retries + 1):
            upstream = self._upstreams.choose(call.route, avoid=tried)
            if upstream is None or (attempt and asyncio.get_running_loop().time() >= call.total_at):
                break
            self._metrics.retries += attempt > 0
            try:
                exchange = await self._attempt(upstream, call)
            except UpstreamFailure as error:
                failure = error
                tried.append(upstream)
                continue
            others = [*tried, upstream]
            another = attempt < self._retries and self._upstreams.choose(call.route, avoid=others) is not None
            if exchange.error_body is None or exchange.response.status < 500 or not another:
                return exchange
            tried.append(upstream)
        if failure is not None:
            raise failure
        raise EngineAway(self._upstreams.retry_after_s)

    async def _attempt(self, upstream: Upstream, call: Call) -> Exchange:
        """Raises UpstreamFailure, having told the breaker."""
        upstream.enter()
        try:
            exchange = Exchange(upstream, await self._ask(upstream, call))
        except UpstreamFailure as error:
            upstream.fail(str(error))
            raise
        except BaseException:
            upstream.leave()
            raise
        try:
            if exchange.response.status >= 300:
                await self._judge(exchange)
        except UpstreamFailure as error:
            exchange.fail(str(error))
            raise
        except BaseException:
            exchange.leave()
            raise
        return exchange

    async def _ask(self, upstream: Upstream, call: Call, *, fresh: bool = False) -> Response:
        """Send and wait for the head. A kept connection that the engine was just closing is replaced, once."""
        headers = self._upstreams.headers(call.content_type)
        response = await upstream.client.send(call.method, call.path, headers, call.body, fresh=fresh)
        try:
            await self._head(response, call)
        except BaseException as error:
            response.close()
            if isinstance(error, UpstreamFailure) and error.kind == "reset" and response.reused:
                return await self._ask(upstream, call, fresh=True)
            raise
        return response

    async def _head(self, response: Response, call: Call) -> None:
        loop = asyncio.get_running_loop()
        deadline = min(loop.time() + call.head_timeout_s, call.total_at)
        while not await response.head(min(deadline, call.comfort.due_at)):
            if loop.time() >= deadline:
                raise UpstreamFailure("stalled", f"the engine said nothing for {call.head_timeout_s:g} s")
            await call.comfort.say()

    async def _judge(self, exchange: Exchange) -> None:
        """Read an error's body and tell the breaker what it means. Raises UpstreamFailure for a redirect."""
        status = exchange.response.status
        if status < 400:
            raise UpstreamFailure("protocol", f"the engine answered {status}: redirects are not followed")
        exchange.error_body = await exchange.response.read_all(ERROR_BODY_TIMEOUT_S, ERROR_BODY_LIMIT_BYTES)
        exchange.loading = status == 503 and any(mark in exchange.error_body.lower() for mark in LOADING_MARKS)
        if status >= 500 and not exchange.loading:
            exchange.fail(f"the engine answered {status}")
        elif exchange.loading:
            exchange.leave()
        else:
            exchange.succeed()
