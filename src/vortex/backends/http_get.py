"""One small JSON request to a program of this stack, for commands: blocking, bounded, no proxy, no redirect.

Does not do: streams, connection reuse (the gateway has its own wire for that).
"""

from __future__ import annotations

import http.client
import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from vortex.errors import BackendError

LIMIT_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    content_type: str
    body: bytes

    def json(self) -> Any:
        """Raises BackendError where the body is no JSON."""
        try:
            return json.loads(self.body)
        except ValueError:
            raise BackendError(f"an answer that is not JSON: {self.body[:80]!r}", status=self.status) from None


def request(url: str, *, body: Any = None, key: str = "", timeout_s: float = 5.0) -> Answer:
    """GET, or POST where there is a body (bytes go as they are). Raises BackendError where nobody answers."""
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=timeout_s)
    data = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {"content-type": "application/json", **({"authorization": f"Bearer {key}"} if key else {})}
    try:
        connection.request("GET" if data is None else "POST", parts.path or "/", body=data, headers=headers)
        response = connection.getresponse()
        return Answer(response.status, response.headers.get("content-type", ""), response.read(LIMIT_BYTES))
    except (OSError, http.client.HTTPException) as error:
        where = f"{parts.hostname}:{parts.port}"
        raise BackendError(f"nobody answers at {where} ({error}): is it started? see `vortex status`") from None
    finally:
        connection.close()


def request_json(url: str, *, body: Any = None, key: str = "", timeout_s: float = 5.0) -> Any:
    """The JSON of a 200. Raises BackendError."""
    answer = request(url, body=body, key=key, timeout_s=timeout_s)
    if answer.status != 200:
        raise BackendError(f"{url} answered {answer.status}: {answer.body[:200]!r}", status=answer.status)
    return answer.json()
