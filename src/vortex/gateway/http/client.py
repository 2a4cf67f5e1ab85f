"""HTTP/1.1 to one engine: a pool of kept connections, and a response read piece by piece under the caller's clock.

Promises: every wait has a bound; closing a response before its end closes the connection, which cancels the request at
the engine; memory stays bounded when nobody reads (the socket is paused); no redirect is followed, no proxy variable is
read, nothing is decompressed. Does not do: retries, HTTP/2. Why not aiohttp's client: measured, see
docs/decisions/0005-gateway-wire.md.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Sequence
from urllib.parse import urlsplit

from vortex.gateway.http.engine_connection import Connection, Header, Sink

MAX_IDLE = 256
IDLE_S = 4.0  # engines close idle connections after 5 s or more: a kept connection is younger than that


class UpstreamFailure(Exception):
    """The engine did not answer as HTTP should. `kind`: refused | connect_timeout | reset | stalled | protocol."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class Response:
    """What an engine answers to one request. Close it in every case. Deadlines are of the event loop's clock."""

    def __init__(self, client: HttpClient, connection: Connection) -> None:
        self._client = client
        self._connection = connection
        self._closed = False
        self.reused = connection.served > 1

    @property
    def status(self) -> int:
        return int(self._connection.parser.get_status_code())

    @property
    def headers(self) -> list[Header]:
        return self._connection.headers

    def header(self, name: bytes) -> bytes:
        return next((value for key, value in self._connection.headers if key == name), b"")

    async def head(self, deadline: float) -> bool:
        """True once status and headers are here; False when the time is over. Raises UpstreamFailure."""
        connection = self._connection
        while not connection.has_head and not connection.broken and await connection.wait_until(deadline):
            pass
        if not connection.has_head and connection.broken:
            raise self._failure()
        return connection.has_head

    async def read(self, deadline: float) -> bytes | None:
        """The bytes that came since, b"" at the end of the body, None when the time is over. Raises UpstreamFailure."""
        connection = self._connection
        while not (connection.pieces or connection.complete or connection.broken):
            if not await connection.wait_until(deadline):
                return None
        if connection.pieces:
            return connection.take()
        if connection.complete:
            return b""
        raise self._failure()

    @property
    def ended(self) -> bool:
        """Whether all of the body was read. Raises UpstreamFailure where it broke off."""
        connection = self._connection
        if connection.pieces:
            return False
        if connection.broken and not connection.complete:
            raise self._failure()
        return connection.complete

    async def pour(self, sink: Sink, deadline: float) -> bool:
        """Give the bytes to `sink` as they arrive, from within the socket's callback: that spares each piece a turn of
        the event loop. True once the sink wants no more or the body is over, False when the time is. The sink must
        not raise."""
        connection = self._connection
        if connection.pieces and not sink(connection.take()):
            return True
        connection.sink = sink
        try:
            while connection.pouring:
                if not await connection.wait_until(deadline):
                    return False
        finally:
            connection.sink = None
        return True

    async def read_all(self, timeout_s: float, limit_bytes: int) -> bytes:
        """The whole body. Raises UpstreamFailure (stalled) when it does not come in time."""
        deadline = asyncio.get_running_loop().time() + timeout_s
        parts: list[bytes] = []
        total_bytes = 0
        while True:
            data = await self.read(deadline)
            if data is None:
                raise UpstreamFailure("stalled", f"no complete answer within {timeout_s:g} s")
            if not data:
                return parts[0] if len(parts) == 1 else b"".join(parts)
            parts.append(data)
            total_bytes += len(data)
            if total_bytes > limit_bytes:
                raise UpstreamFailure("protocol", f"an answer of more than {limit_bytes} bytes")

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._client.give_back(self._connection)

    def _failure(self) -> UpstreamFailure:
        kind, _, message = self._connection.broken.partition(": ")
        return UpstreamFailure(kind, message)


class HttpClient:
    """Connections to one base address (`http://host:port/prefix`)."""

    def __init__(self, base_url: str, *, connect_timeout_s: float) -> None:
        parts = urlsplit(base_url)
        self.host = parts.hostname or ""
        self.secure = parts.scheme == "https"
        self.port = parts.port or (443 if self.secure else 80)
        self._prefix = parts.path.rstrip("/").encode()
        self._authority = parts.netloc.rpartition("@")[2].encode()
        self._connect_timeout_s = connect_timeout_s
        self._idle: list[Connection] = []
        self.open_connections: set[Connection] = set()

    async def send(
        self, method: bytes, path: bytes, headers: Sequence[Header], body: bytes, *, fresh: bool = False
    ) -> Response:
        """Send a request on a kept or (`fresh`) new connection; its answer is read from the Response.

        Raises UpstreamFailure (refused, connect_timeout).
        """
        request = [b"%s %s%s HTTP/1.1\r\nhost: %s\r\n" % (method, self._prefix, path, self._authority)]
        request += [b"%s: %s\r\n" % header for header in headers]
        request.append(b"content-length: %d\r\n\r\n" % len(body))
        request = [b"".join(request), body]
        connection = (None if fresh else self._kept()) or await self._connect()
        connection.begin(request)
        return Response(self, connection)

    def _kept(self) -> Connection | None:
        now = asyncio.get_running_loop().time()
        while self._idle:
            connection = self._idle.pop()
            if not connection.lost and not connection.transport.is_closing() and now - connection.idle_since < IDLE_S:
                return connection
            self._discard(connection)
        return None

    async def _connect(self) -> Connection:
        loop = asyncio.get_running_loop()
        context = ssl.create_default_context() if self.secure else None
        try:
            async with asyncio.timeout(self._connect_timeout_s):
                _, connection = await loop.create_connection(Connection, self.host, self.port, ssl=context)
        except TimeoutError:
            message = f"no connection to {self.host}:{self.port} within {self._connect_timeout_s:g} s"
            raise UpstreamFailure("connect_timeout", message) from None
        except OSError as error:
            raise UpstreamFailure("refused", f"no connection to {self.host}:{self.port}: {error}") from None
        self.open_connections.add(connection)
        return connection

    def give_back(self, connection: Connection) -> None:
        if connection.complete and connection.keep_alive and not connection.lost and len(self._idle) < MAX_IDLE:
            connection.idle_since = asyncio.get_running_loop().time()
            self._idle.append(connection)
        else:
            self._discard(connection)

    def _discard(self, connection: Connection) -> None:
        self.open_connections.discard(connection)
        connection.transport.abort()

    def close(self) -> None:
        for connection in list(self.open_connections):
            self._discard(connection)
        self._idle.clear()
