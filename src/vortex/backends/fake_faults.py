"""Faults of the fake engine, by name: each does to an answer what a broken engine or network has done to somebody.

A fault either answers instead of the engine (`instead`), or spoils how a whole or streamed answer is written.
`reset` cuts the connection with a TCP reset, as a killed process on another machine does.
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from aiohttp import web

HOUR_S = 3600.0
Instead = Callable[[web.Request], Awaitable[web.StreamResponse]]


def cut(request: web.Request) -> None:
    """Reset the connection: no FIN, no rest of the body."""
    transport = request.transport
    if transport is None:
        return
    connection = transport.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


@dataclass(frozen=True, slots=True)
class BodyFault:
    """Writes an answer faithfully, unless told where to go wrong."""

    instead: Instead | None = None
    hang_after: int | None = None  # events
    reset_after: int | None = None
    end_after: int | None = None  # the body ends, well-formed as HTTP
    heartbeats: bool = False
    byte_by_byte: bool = False
    spoil: Callable[[list[bytes]], list[bytes]] | None = None
    whole: Callable[[bytes], bytes] | None = None

    async def write_whole(self, request: web.Request, response: web.StreamResponse, raw: bytes) -> None:
        if self.hang_after is not None or self.heartbeats:
            await response.write(raw[: len(raw) // 2])
            await asyncio.sleep(HOUR_S)
        if self.reset_after is not None:
            await response.write(raw[: len(raw) // 2])
            cut(request)
            return
        if self.whole is not None:
            raw = self.whole(raw)
        await response.write(raw)
        await response.write_eof()

    async def write_stream(
        self, request: web.Request, response: web.StreamResponse, events: list[bytes], token_s: float
    ) -> None:
        events = self.spoil(events) if self.spoil else events
        for index, event in enumerate(events):
            if self.heartbeats or self.hang_after == index:
                await self._hang(response)
            if self.reset_after == index:
                cut(request)
                return
            if self.end_after == index:
                break
            if index > 1 and token_s:
                await asyncio.sleep(token_s)
            for piece in [event[i : i + 1] for i in range(len(event))] if self.byte_by_byte else [event]:
                await response.write(piece)
                await asyncio.sleep(0)
        await response.write_eof()

    async def _hang(self, response: web.StreamResponse) -> None:
        while self.heartbeats:
            await response.write(b": ping\n\n")
            await asyncio.sleep(0.01)
        await asyncio.sleep(HOUR_S)


async def _hang(_: web.Request) -> web.StreamResponse:
    await asyncio.sleep(HOUR_S)
    return web.Response()


async def _reset(request: web.Request) -> web.StreamResponse:
    cut(request)
    return web.Response()


def _status(status: int, message: str, headers: dict[str, str] | None = None) -> Instead:
    async def answer(_: web.Request) -> web.StreamResponse:
        error = {"error": {"message": message, "type": "engine_error", "code": status}}
        return web.json_response(error, status=status, headers=headers)

    return answer


def _redirect(_: web.Request) -> Awaitable[web.StreamResponse]:
    raise web.HTTPFound("http://198.51.100.1/")


def _truncated_event(events: list[bytes]) -> list[bytes]:
    return [*events[:3], events[3][: len(events[3]) // 2] + b"\n\n", *events[4:]]


def _error_event(events: list[bytes]) -> list[bytes]:
    error = {"error": {"message": "out of memory", "type": "server_error", "code": 500}}
    return [*events[:3], b"data: " + json.dumps(error).encode() + b"\n\n"]


def _error_body(_: bytes) -> bytes:
    text = json.dumps({"error": {"message": "out of memory", "type": "server_error", "code": 500}})
    return text.encode()


FAULTS: dict[str, BodyFault] = {
    "hang_before_headers": BodyFault(instead=_hang),
    "reset_before_headers": BodyFault(instead=_reset),
    "hang_mid_stream": BodyFault(hang_after=3),
    "heartbeats_only": BodyFault(heartbeats=True),
    "reset_mid_stream": BodyFault(reset_after=3),
    "truncated_json": BodyFault(spoil=_truncated_event, whole=lambda raw: raw[: len(raw) // 2].ljust(len(raw))),
    "truncated_tail": BodyFault(
        spoil=lambda events: [*events[:3], events[3][:40]], whole=lambda raw: raw[:20].ljust(len(raw))
    ),
    "split_utf8": BodyFault(byte_by_byte=True),
    "missing_done": BodyFault(spoil=lambda events: events[:-1]),
    "ends_early": BodyFault(end_after=3),
    "error_in_200": BodyFault(spoil=_error_event, whole=lambda raw: _error_body(raw).ljust(len(raw))),
    "status_400": BodyFault(instead=_status(400, "bad request")),
    "status_429": BodyFault(instead=_status(429, "slow down", {"retry-after": "7"})),
    "status_500": BodyFault(instead=_status(500, "internal error")),
    "loading_503": BodyFault(instead=_status(503, "Loading model")),
    "redirect": BodyFault(instead=_redirect),
}
