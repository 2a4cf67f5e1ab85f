"""What `/metrics` shows: requests, tokens and times of this app, and the engine's own counters.

Each app has its own registry, so two servers in one process do not mix. Engine counters (`page_faults`,
`prefetch_hits`, `bytes_h2d`, `bytes_compressed_read`, sweeps, …) appear as `vortex_NAME` as the engine names them.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import UntypedMetricFamily
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vortex.server.answer import Gathered
from vortex.types import BackendStatus

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
KNOWN_PREFIXES = (
    "/v1/",
    "/api/",
    "/tokenize",
    "/detokenize",
    "/rerank",
    "/doctor",
    "/healthz",
    "/health",
    "/readyz",
    "/metrics",
    "/docs",
    "/openapi.json",
)


class ServerMetrics:
    def __init__(self) -> None:
        self.registry = here = CollectorRegistry()
        self.requests = Counter("vortex_requests", "Requests answered", ["path", "status"], registry=here)
        self.durations = Histogram("vortex_request_seconds", "Whole request", ["path"], buckets=SECONDS, registry=here)
        self.first_token = Histogram("vortex_first_token_seconds", "To first token", buckets=SECONDS, registry=here)
        self.tokens = Counter("vortex_tokens", "Tokens by kind", ["kind"], registry=here)
        self.active = Gauge("vortex_active_answers", "Answers under way", registry=here)
        self.cancelled = Counter("vortex_cancelled_answers", "Answers whose client went", registry=here)
        self._engine = BackendStatus(ready=False)
        self.registry.register(self)

    def collect(self) -> Iterator[UntypedMetricFamily]:
        """Called by the registry."""
        numbers = {"engine_ready": float(self._engine.ready), "engine_active": self._engine.active}
        numbers |= {"engine_queued": self._engine.queued, **self._engine.counters}
        for name, value in numbers.items():
            yield UntypedMetricFamily(f"vortex_{re.sub('[^a-zA-Z0-9_]', '_', name)}", "As the engine counts", value)

    def text(self, engine: BackendStatus) -> bytes:
        self._engine = engine
        return generate_latest(self.registry)

    def answer_ended(self, gathered: Gathered) -> None:
        if gathered.first_token_ms is not None:
            self.first_token.observe(gathered.first_token_ms / 1000)
        if gathered.usage is not None:
            self.tokens.labels("prompt").inc(gathered.usage.prompt_tokens)
            self.tokens.labels("cached").inc(gathered.usage.cached_tokens)
            self.tokens.labels("completion").inc(gathered.usage.completion_tokens)
        elif gathered.error is None:
            self.cancelled.inc()


class CountRequests:
    """Middleware: one count and one duration per request, by path and status."""

    def __init__(self, app: ASGIApp, metrics: ServerMetrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status, begun_s = "499", time.perf_counter()

        async def send_noting_status(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = str(message["status"])
            await send(message)

        try:
            await self._app(scope, receive, send_noting_status)
        finally:
            known = status != "404" and scope["path"].startswith(KNOWN_PREFIXES)
            path = scope["path"] if known else "other"  # paths that strangers make up must not grow the registry
            self._metrics.requests.labels(path, status).inc()
            self._metrics.durations.labels(path).observe(time.perf_counter() - begun_s)
