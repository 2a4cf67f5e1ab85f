"""Refuses bodies larger than the limit: by their announced length at once, else where the limit is crossed."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vortex.server.asgi import header
from vortex.server.errors import Refusal, error_response


class BodyLimit:
    def __init__(self, app: ASGIApp, limit_bytes: int) -> None:
        self._app = app
        self._limit_bytes = limit_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        announced = header(scope, b"content-length") or "0"
        if announced.isdigit() and int(announced) > self._limit_bytes:
            await error_response(self._refusal(), scope["path"])(scope, receive, send)
            return
        received_bytes = 0

        async def receive_counted() -> Message:
            nonlocal received_bytes
            message = await receive()
            received_bytes += len(message.get("body", b""))
            if received_bytes > self._limit_bytes:
                raise self._refusal()
            return message

        await self._app(scope, receive_counted, send)

    def _refusal(self) -> Refusal:
        message = f"the request is larger than the limit of {self._limit_bytes} bytes; send less"
        return Refusal(413, message, code="request_too_large", headers={"Connection": "close"})
