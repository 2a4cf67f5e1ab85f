"""Draws the id of every request and puts it on every response as `x-request-id`.

As the outermost layer it also keeps the web server's own `send` for streams (`scope["state"]["send_body"]`): how a
response starts is the layers' business, its thousand frames are not.

The id has the prefix that OpenAI gives to the answer's own id, so that the two are the same string.
"""

from __future__ import annotations

import secrets

from starlette.types import ASGIApp, Message, Receive, Scope, Send

PREFIXES = {
    "/v1/chat/completions": "chatcmpl-",
    "/v1/completions": "cmpl-",
    "/v1/responses": "resp_",
    "/v1/messages": "msg_",
}


class RequestId:
    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = PREFIXES.get(scope["path"], "req_") + secrets.token_hex(12)
        scope.setdefault("state", {}).update(request_id=request_id, send_body=send)

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                named = [(name, request_id.encode()) for name in (b"x-request-id", b"request-id")]  # OpenAI, Anthropic
                message["headers"] = [*message.get("headers", ()), *named]
            await send(message)

        await self._app(scope, receive, send_with_id)
