"""How long and how much the server listens before it knows what is asked: limits on heads, and on slow senders.

The web server's own protocol has no end to a head and waits for ever for the rest of a request. Here a head has 64 KB
and ten seconds, a body sixty seconds from its head; beyond them the answer is 431 or 408 and the connection closes.
How large a body may be is `body_limit`'s business.
"""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEAD_BYTES = 64 * 1024
HEAD_S = 10.0
BODY_S = 60.0
LINGER_S = 1.0
TOO_LARGE = (431, "Request Header Fields Too Large", f"the head of the request is larger than {MAX_HEAD_BYTES} bytes")
TOO_SLOW = (408, "Request Timeout", "the request did not arrive in time; send it again")


class PatientProtocol(HttpToolsProtocol):
    """One connection."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._head_bytes = self._chunk_bytes = 0
        self._is_in_head = True
        self._is_refused = False
        self._patience: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        self._wait_at_most(HEAD_S)

    def connection_lost(self, exc: Exception | None) -> None:
        self._wait_no_more()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._is_refused:
            return
        self._chunk_bytes = len(data)
        self._head_bytes += len(data)
        super().data_received(data)
        if self._is_in_head and self._head_bytes > MAX_HEAD_BYTES:
            self._refuse(*TOO_LARGE)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._is_in_head, self._head_bytes = True, self._chunk_bytes
        self._wait_at_most(HEAD_S)

    def on_headers_complete(self) -> None:
        self._is_in_head = False
        self._wait_at_most(BODY_S)
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._wait_no_more()
        self._chunk_bytes = 0  # what is left of this chunk is the next request's, and little
        super().on_message_complete()

    def _wait_at_most(self, seconds: float) -> None:
        self._wait_no_more()
        self._patience = self.loop.call_later(seconds, self._refuse, *TOO_SLOW)

    def _wait_no_more(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def _refuse(self, status: int, phrase: str, message: str) -> None:
        """An answer and the end, unless an answer is under way already."""
        self._wait_no_more()
        transport = self.transport
        if transport is None or transport.is_closing():
            return
        begun = self.cycle is not None and self.cycle.response_started and not self.cycle.response_complete
        if not begun:
            error = {"message": message, "type": "invalid_request_error", "param": None, "code": None}
            body = orjson.dumps({"error": error})
            head = f"HTTP/1.1 {status} {phrase}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
            transport.write(head.encode() + b"connection: close\r\n\r\n" + body)
        self._is_refused = True
        self.loop.call_later(LINGER_S, transport.close)  # closed at once, what is still coming in would undo the answer
