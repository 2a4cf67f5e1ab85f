"""Who may call: the Host that was asked for, the browser page that asks, the key.

A page on the internet can make a visitor's browser call a local server, under a name that resolves to it (rebinding;
Ollama, CVE-2024-28224). So the Host must be an IP address, localhost or a name that was allowed, and a browser's
request must come from the server's own pages or from an origin that was allowed. Health checks need no key, nor does
the console, which a browser reaches without headers of ours: it has its own sessions (console/guard.py).
Does not do: users, scopes, rate limits per key.
"""

from __future__ import annotations

import hmac
import ipaddress
import socket

from starlette.types import ASGIApp, Receive, Scope, Send

from vortex.server.asgi import header
from vortex.server.errors import Refusal, error_response
from vortex.server.options import ServerOptions

OPEN_PATHS = {"/healthz", "/health", "/readyz", "/console"}
OWN_SESSIONS = "/console/"
LOCAL_NAMES = {"localhost", "host.docker.internal"}  # neither can be made to resolve elsewhere by a stranger


class AccessControl:
    def __init__(self, app: ASGIApp, options: ServerOptions) -> None:
        self._app = app
        self._names = {*LOCAL_NAMES, socket.gethostname().lower(), options.host.lower()}
        self._names |= {name.lower() for name in options.allowed_hosts}
        self._origins = {origin.rstrip("/").lower() for origin in options.allowed_origins}
        self._key = options.api_key.encode() if options.api_key else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refusal = self._refusal(scope) if scope["type"] == "http" else None
        if refusal is not None:
            await error_response(refusal, scope["path"])(scope, receive, send)
        elif scope["type"] != "websocket":
            await self._app(scope, receive, send)

    def _refusal(self, scope: Scope) -> Refusal | None:
        host = (header(scope, b"host") or "").lower()
        if not self._host_is_ours(host):
            message = f"the Host {host!r} is not served here; start the server with --allow-host to serve it"
            return Refusal(403, message, code="host_not_allowed")
        if not self._page_may_call(scope, host):
            message = "a browser page of another origin may not call; start the server with --allow-origin to let it"
            return Refusal(403, message, code="origin_not_allowed")
        open_here = scope["path"] in OPEN_PATHS or scope["path"].startswith(OWN_SESSIONS)
        if self._key and not open_here and not self._key_fits(scope):
            message = "the API key is missing or wrong; send it as 'Authorization: Bearer KEY' or 'x-api-key: KEY'"
            return Refusal(401, message, code="invalid_api_key", headers={"WWW-Authenticate": "Bearer"})
        return None

    def _host_is_ours(self, host: str) -> bool:
        name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
        name = name.removesuffix(".")
        if name in self._names or name.endswith(".localhost"):
            return True
        try:
            ipaddress.ip_address(name.strip("[]"))
        except ValueError:
            return False
        return True

    def _page_may_call(self, scope: Scope, host: str) -> bool:
        origin = (header(scope, b"origin") or "").lower()
        if origin:
            return origin in self._origins or origin == f"{scope['scheme']}://{host}"
        return header(scope, b"sec-fetch-site") in (None, "none", "same-origin")

    def _key_fits(self, scope: Scope) -> bool:
        """As OpenAI's clients send it, or as Anthropic's do."""
        scheme, _, sent = (header(scope, b"authorization") or "").partition(" ")
        fits = hmac.compare_digest(sent.strip().encode("latin-1"), self._key or b"") and scheme.lower() == "bearer"
        other = (header(scope, b"x-api-key") or "").strip().encode("latin-1")
        return hmac.compare_digest(other, self._key or b"") or fits
