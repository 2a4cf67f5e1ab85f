"""Server-sent events as bytes arrive: in come chunks cut anywhere, out come the `data` of whole events.

Promises: any cutting of the same bytes gives the same events; comments and other fields are dropped; an event larger
than the limit is an error. Does not do: reconnection, event ids.
"""

from __future__ import annotations

from vortex.errors import BackendError

EVENT_LIMIT_BYTES = 16 * 1024 * 1024


class SseParser:
    def __init__(self) -> None:
        self._pending = bytearray()
        self._data: list[bytes] = []

    def feed(self, chunk: bytes) -> list[bytes]:
        """The data of every event that this chunk completes."""
        self._pending += chunk
        if len(self._pending) > EVENT_LIMIT_BYTES:
            raise BackendError(f"the engine sent an event of more than {EVENT_LIMIT_BYTES} bytes")
        *lines, rest = bytes(self._pending).split(b"\n")
        self._pending = bytearray(rest)
        return [event for line in lines if (event := self._line(line.removesuffix(b"\r"))) is not None]

    def _line(self, line: bytes) -> bytes | None:
        if line.startswith(b"data:"):
            self._data.append(line[5:].removeprefix(b" "))
        elif not line and self._data:
            event = b"\n".join(self._data)
            self._data = []
            return event
        return None
