"""Server-sent events out: frames written as they come, the client's going noticed between them.

Promises: when the client goes, the frames' iterator is closed at once (which cancels the generation); a failure after
the first byte becomes a frame with `error`, then the stream closes. Does not do: retries, event ids.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from typing import Any

import orjson
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from vortex.errors import VortexError
from vortex.server.asgi import client_gone
from vortex.server.errors import error_body

DONE = b"data: [DONE]\n\n"
HEADERS = {"cache-control": "no-cache", "x-accel-buffering": "no"}  # the second: nginx must not hold frames back
log = logging.getLogger(__name__)


def frame(payload: Mapping[str, Any], event: str | None = None) -> bytes:
    """One event; with `event` its name on a line of its own, as the Responses API wants."""
    name = f"event: {event}\n".encode() if event else b""
    return name + b"data: " + orjson.dumps(payload) + b"\n\n"


class SseResponse(Response):
    """Sends `frames` until they end, fail or the client goes; then closes them and calls `close`, on every path."""

    def __init__(
        self,
        frames: AsyncGenerator[bytes, None],
        close: Callable[[], Awaitable[None]],
        failure: Callable[[Exception], bytes] | None = None,
        media_type: str = "text/event-stream",
    ) -> None:
        """failure: how this wire says in a stream what went wrong."""
        self._frames = frames
        self._close = close
        self._failure = failure or (lambda error: frame(error_body(error)))
        self.status_code = 200
        self.background = None
        self.media_type = media_type
        self.init_headers(HEADERS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        writer = asyncio.create_task(self._write(send, scope["state"]["send_body"]))
        listener = asyncio.create_task(client_gone(receive))
        try:
            await asyncio.wait({writer, listener}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            listener.cancel()
            writer.cancel()
            await asyncio.gather(writer, listener, return_exceptions=True)
            await self._frames.aclose()
            await self._close()  # frames that were never begun have closed nothing
        if not writer.cancelled() and (error := writer.exception()):
            raise error

    async def _write(self, send: Send, send_body: Send) -> None:
        """Whatever goes wrong among the frames, the client sees a well-formed end."""
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        try:
            async for data in self._frames:
                await send_body({"type": "http.response.body", "body": data, "more_body": True})
        except Exception as error:
            if not isinstance(error, VortexError):
                log.exception("an answer failed after its first byte")
            await send_body({"type": "http.response.body", "body": self._failure(error), "more_body": True})
        await send_body({"type": "http.response.body", "body": b"", "more_body": False})
