"""A client that adds as little as it can to what it times: kept connections, no parsing beyond the framing.

Sends one JSON body to one address again and again, or another each time. Does not do: HTTPS, redirects, anything but
POST and `200`.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from urllib.parse import urlsplit

from vortex.errors import BackendError


@dataclass(frozen=True, slots=True)
class Timing:
    """Milliseconds until the first bytes of the body (or the first that hold a mark) and until its end."""

    first_ms: float
    whole_ms: float
    body: bytes


class HttpProbe:
    """POSTs of one body; connections are kept and shared by whoever asks at the same time."""

    def __init__(self, url: str, body: bytes, headers: dict[str, str] | None = None, mark: bytes = b"") -> None:
        """`mark`: of a stream, time the first piece that holds these bytes; the body then keeps its framing."""
        self._mark = mark
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "127.0.0.1", parts.port or 80
        lines = [f"POST {parts.path} HTTP/1.1", f"host: {parts.netloc}", "content-type: application/json"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        self._head = "\r\n".join(lines).encode()
        self._body = body
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        self.last_body = b""

    async def post(self, other: bytes | None = None) -> Timing:
        """Raises BackendError for anything but a complete 200. A kept connection that died is replaced, untimed."""
        body = self._body if other is None else other
        request = self._head + b"\r\ncontent-length: %d\r\n\r\n" % len(body) + body
        while self._idle:
            reader, writer = self._idle.pop()
            if not reader.at_eof() and not writer.is_closing():
                try:
                    return await self._exchange(reader, writer, request)
                except (asyncio.IncompleteReadError, ConnectionError):
                    pass  # it was being closed: the next one, or a new one, is timed from its own start
            writer.close()
        try:
            return await self._exchange(*await asyncio.open_connection(self._host, self._port), request)
        except (asyncio.IncompleteReadError, OSError) as error:
            raise BackendError(f"{self._host}:{self._port} broke off: {error}") from None

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> Timing:
        started = time.perf_counter()
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        if b" 200 " not in head[:20]:
            writer.close()
            raise BackendError(f"{self._host}:{self._port} answered {head[:60]!r}")
        read = _read_body(reader, head.lower()) if not self._mark else _read_marked(reader, self._mark)
        first, body = await read
        ended = time.perf_counter()
        self.last_body = body
        self._idle.append((reader, writer))
        return Timing((first - started) * 1000, (ended - started) * 1000, body)

    async def close(self) -> None:
        for _, writer in self._idle:
            writer.close()
            await writer.wait_closed()
        self._idle.clear()


async def _read_body(reader: asyncio.StreamReader, head: bytes) -> tuple[float, bytes]:
    if b"chunked" not in head:
        length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0])
        body = await reader.readexactly(length)
        return time.perf_counter(), body
    parts, first = [], 0.0
    while size := int(await reader.readline(), 16):
        parts.append((await reader.readexactly(size + 2))[:-2])
        first = first or time.perf_counter()
    await reader.readline()
    return first, b"".join(parts)


async def _read_marked(reader: asyncio.StreamReader, mark: bytes) -> tuple[float, bytes]:
    """A chunked body, looked at as little as can be."""
    parts: list[bytes] = []
    first = 0.0
    while True:
        piece = await reader.read(1 << 16)
        if not piece:
            raise asyncio.IncompleteReadError(b"".join(parts), None)
        parts.append(piece)
        if not first and mark in piece:
            first = time.perf_counter()
        if piece.endswith(b"0\r\n\r\n") and b"".join(parts[-2:]).endswith(b"\r\n0\r\n\r\n"):
            return first, b"".join(parts)
