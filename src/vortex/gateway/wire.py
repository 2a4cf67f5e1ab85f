"""The client's side of a request: what came in, and a reply whose every write has a bound.

Thin over ASGI. Promises: a client that leaves cancels the work for it; one that stops reading is dropped after the
stall time-out; a reply is started and ended once. Does not do: routing, compression.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Headers = Sequence[tuple[bytes, bytes]]

JSON = (b"content-type", b"application/json")
EVENT_STREAM = ((b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-cache"))


class ClientGone(Exception):
    """The client left or does not read; nothing can be said to it any more."""


class BodyTooLarge(Exception):
    """More bytes than LKN_MAX_BODY_BYTES."""


@dataclass(slots=True)
class Request:
    method: str
    path: str
    query: bytes
    headers: dict[bytes, bytes]
    id: str
    arrived: float  # seconds of the event loop's clock
    body: bytes = b""
    label: dict[str, str] = field(default_factory=dict)  # what the reply's x-lkn-… headers say


async def read_body(receive: Receive, limit_bytes: int) -> bytes:
    """Raises BodyTooLarge, ClientGone."""
    parts: list[bytes] = []
    total_bytes = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        part = message.get("body", b"")
        total_bytes += len(part)
        if total_bytes > limit_bytes:
            raise BodyTooLarge
        parts.append(part)
        if not message.get("more_body"):
            return parts[0] if len(parts) == 1 else b"".join(parts)


class Reply:
    def __init__(self, send: Send, stall_s: float) -> None:
        self._send = send
        self._stall_s = stall_s
        self.started = False
        self.ended = False
        self.status = 0
        self.last_write = 0.0
        self.sent_bytes = 0

    async def start(self, status: int, headers: Headers) -> None:
        assert not self.started, "a reply starts once"
        self.started = True
        self.status = status
        await self._send({"type": "http.response.start", "status": status, "headers": list(headers)})

    async def write(self, data: bytes) -> None:
        """Raises ClientGone when the client has not read for the stall time-out."""
        self.sent_bytes += len(data)
        loop = asyncio.get_running_loop()
        task = asyncio.current_task()
        assert task is not None, "writes happen in a task"
        stalled = False

        def give_up() -> None:
            nonlocal stalled
            stalled = True
            task.cancel()

        timer = loop.call_later(self._stall_s, give_up)
        try:
            await self._send({"type": "http.response.body", "body": data, "more_body": True})
        except asyncio.CancelledError:
            if stalled and task.uncancel() == 0:
                raise ClientGone from None
            raise
        finally:
            timer.cancel()
        self.last_write = loop.time()

    async def end(self) -> None:
        if not self.ended:
            self.ended = True
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def whole(self, status: int, headers: Headers, body: bytes) -> None:
        """A reply in one piece."""
        self.ended = True
        self.sent_bytes = len(body)
        await self.start(status, [*headers, (b"content-length", b"%d" % len(body))])
        await self._send({"type": "http.response.body", "body": body, "more_body": False})

    async def json(self, status: int, value: Any, headers: Headers = ()) -> None:
        await self.whole(status, [JSON, *headers], orjson.dumps(value))

    async def error(self, status: int, message: str, code: str, headers: Headers = ()) -> None:
        """OpenAI's shape of an error."""
        kind = "invalid_request_error" if status < 500 else "upstream_error"
        body = {"error": {"message": message, "type": kind, "param": None, "code": code}}
        await self.json(status, body, headers)
