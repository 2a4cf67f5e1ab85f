"""The server's own JSON API, asked from within the process: a page shows what any client could have asked for.

The request that is forwarded has passed the console's guard; its cookie and its token stay here.
"""

from __future__ import annotations

from typing import Any

import orjson
from prometheus_client.parser import text_string_to_metric_families
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

KEPT_HEADERS = frozenset({b"content-type", b"content-length", b"accept"})


class LocalApi:
    """Beneath the server's own checks of key, host and origin, which the request has passed or the guard replaces."""

    def __init__(self, request: Request) -> None:
        self._scope: Scope = request.scope
        self._app: ASGIApp = request.scope["app"].router

    async def get(self, path: str, query: str = "") -> tuple[int, bytes]:
        """Status and body."""
        status, body = 500, bytearray()

        async def receive() -> Message:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            body.extend(message.get("body", b""))

        await self._app(self._inner("GET", path, query), receive, send)
        return status, bytes(body)

    async def json(self, path: str) -> Any:
        """None where the server does not serve the path, or fails."""
        status, body = await self.get(path)
        return orjson.loads(body) if status in {200, 503} and body.startswith((b"{", b"[")) else None

    async def metrics(self) -> dict[str, float]:
        """Sums over labels, and `name{label=value}` for each label alone."""
        _, body = await self.get("/metrics")
        found: dict[str, float] = {}
        for family in text_string_to_metric_families(body.decode()):
            for sample in family.samples:
                found[sample.name] = found.get(sample.name, 0.0) + sample.value
                for label, value in sample.labels.items():
                    key = f"{sample.name}{{{label}={value}}}"
                    found[key] = found.get(key, 0.0) + sample.value
        return found

    async def forward(self, path: str, receive: Receive, send: Send) -> None:
        await self._app(self._inner("POST", path, ""), receive, send)

    def _inner(self, method: str, path: str, query: str) -> Scope:
        headers = [(name, value) for name, value in self._scope["headers"] if name in KEPT_HEADERS]
        state = dict(self._scope.get("state", {}))
        kept = {key: value for key, value in self._scope.items() if key not in {"path_params", "endpoint", "router"}}
        return {
            **kept, "method": method, "path": path, "raw_path": path.encode(), "query_string": query.encode(),
            "headers": headers if method == "POST" else [], "state": state,
        }  # fmt: skip
