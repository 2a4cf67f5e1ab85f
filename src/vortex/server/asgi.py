"""Small pieces of pure ASGI that middleware and responses share."""

from __future__ import annotations

from starlette.types import Receive, Scope


def header(scope: Scope, name: bytes) -> str | None:
    """The first value of a header, as text."""
    return next((value.decode("latin-1") for key, value in scope["headers"] if key == name), None)


async def client_gone(receive: Receive) -> None:
    """Returns when the client has closed its connection. Call it after the body was read."""
    while (await receive())["type"] != "http.disconnect":
        pass
