"""Who may talk to the gateway: the key, the Host name and the web origin.

A page in the user's browser can reach 127.0.0.1 by a name it controls (DNS rebinding): a Host that is not ours is
refused, an Origin that is not this machine too. Keys are compared in constant time. Does not do: users, quotas.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Iterable, Mapping

from vortex.gateway.http.wire import Refusal
from vortex.gateway.settings import GatewaySettings

OPEN_PATHS = frozenset({"/healthz", "/health"})
HOST = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9_.-]+)(:[0-9]{1,5})?")
LOCAL_NAMES = ("127.0.0.1", "localhost", "::1", "host.docker.internal")


class Guard:
    def __init__(self, settings: GatewaySettings) -> None:
        further = _names(settings.guard.allowed_hosts)
        self._hosts = frozenset({*LOCAL_NAMES, settings.addresses.host.lower(), *further})
        self._origins = frozenset(_names(settings.guard.allowed_origins))
        self._key = settings.addresses.api_key.encode()

    def refuse(self, path: str, headers: Mapping[bytes, bytes]) -> Refusal | None:
        """Why this request is not served, or None."""
        sent_host = headers.get(b"host", b"").decode("latin-1").strip().lower()
        if host_name(sent_host) not in self._hosts:
            return Refusal(421, "this Host is not served here: add it to LKN_ALLOWED_HOSTS", "host_not_allowed")
        if not self._page_may_call(headers, sent_host):
            return Refusal(403, "this Origin may not call: add it to LKN_ALLOWED_ORIGINS", "origin_not_allowed")
        if self._key and path not in OPEN_PATHS and not self._has_key(headers.get(b"authorization", b"")):
            return Refusal(401, "wrong or missing key: send `Authorization: Bearer KEY`", "invalid_api_key")
        return None

    def _page_may_call(self, headers: Mapping[bytes, bytes], host: str) -> bool:
        """A browser's page: our own, or of an allowed origin. Who sends neither header is no browser."""
        origin = headers.get(b"origin", b"").decode("latin-1").lower()
        if origin:
            return origin in self._origins or origin == f"http://{host}"
        return headers.get(b"sec-fetch-site", b"none") in {b"none", b"same-origin"}

    def _has_key(self, authorization: bytes) -> bool:
        scheme, _, sent = authorization.partition(b" ")
        return hmac.compare_digest(sent.strip(), self._key) and scheme.lower() == b"bearer"


def host_name(host: str) -> str:
    """The name of a Host header: without port and brackets, lower case; empty for what is no name and port."""
    host = host.strip().lower()
    if HOST.fullmatch(host) is None:
        return ""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.rpartition(":")[0] if ":" in host else host


def _names(text: str) -> Iterable[str]:
    return [name.strip().lower() for name in text.split(",") if name.strip()]
