"""Paths as they were meant, and HEAD where GET is served.

Clients join addresses carelessly (`/v1//models`, `/v1/chat/completions/`), and probes ask with HEAD. Outermost, so that
every layer sees one spelling; the web server itself leaves a HEAD's body out.
"""

from __future__ import annotations

import re

from starlette.types import ASGIApp, Receive, Scope, Send

SLASHES = re.compile("/{2,}")


class PlainPaths:
    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            path = scope["path"]
            if "//" in path or (len(path) > 1 and path.endswith("/")):
                plain = SLASHES.sub("/", path).rstrip("/") or "/"
                scope = {**scope, "path": plain, "raw_path": plain.encode()}
            if scope["method"] == "HEAD":
                scope = {**scope, "method": "GET"}
        await self._app(scope, receive, send)
