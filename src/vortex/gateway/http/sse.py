"""Server-sent events kept as the bytes they came in: whole events out of chunks cut anywhere.

Promises: the pieces given out, joined, are the bytes put in; a client never sees half an event or half a character. An
event beyond the limit is an error. Does not do: other fields than `data`, reconnection.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import orjson

from vortex.gateway.http.client import UpstreamFailure

EVENT_LIMIT_BYTES = 16 * 1024 * 1024
DONE = b"data: [DONE]\n\n"
_END = re.compile(rb"\n\n|\r\n\r\n|\r\r")


class EventSplitter:
    """Feed chunks, get whole events with their blank lines."""

    def __init__(self) -> None:
        self._rest = b""

    @property
    def rest(self) -> bytes:
        """An event that has begun and not ended."""
        return self._rest

    def feed(self, chunk: bytes) -> list[bytes]:
        if not self._rest and chunk.endswith(b"\n\n") and chunk.find(b"\n\n") == len(chunk) - 2 and b"\r" not in chunk:
            return [chunk]  # the usual: one event a chunk
        data = self._rest + chunk if self._rest else chunk
        events: list[bytes] = []
        start = 0
        for match in _END.finditer(data):
            events.append(data[start : match.end()])
            start = match.end()
        self._rest = data[start:]
        if len(self._rest) > EVENT_LIMIT_BYTES:
            raise UpstreamFailure("protocol", f"an event of more than {EVENT_LIMIT_BYTES} bytes")
        return events


@dataclass(frozen=True, slots=True)
class PlainEvents:
    """What whole events said: new tokens, and the event that tells why the answer ended, which is not among them."""

    tokens: int
    final: dict[str, Any] | None
    done: bool


def plain_events(chunk: bytes) -> PlainEvents | None:
    """The meaning of a chunk that is one or more whole chat events of the usual form, None for any other.

    They are read as one JSON list, in a third of the time of one after the other: a line break cannot be inside JSON's
    strings, so what stands between two events is the end of one and the beginning of the next.
    """
    if not chunk.startswith(b"data: ") or not chunk.endswith(b"\n\n"):
        return None
    done = chunk.endswith(DONE)
    body = chunk[6 : -len(DONE) - 2 if done else -2]
    tokens, final = 0, None
    try:
        values = orjson.loads(b"[%b]" % body.replace(b"\n\ndata: ", b","))
        for value in values:
            if "error" in value:
                return None
            for choice in value["choices"]:
                if choice["finish_reason"] is not None:
                    final = value
                elif "role" not in choice["delta"]:
                    tokens += 1
    except (ValueError, LookupError, TypeError):
        return None
    return PlainEvents(tokens, final, done) if len(values) == body.count(b"\n\n") + 1 else None


def data_of(event: bytes) -> bytes | None:
    """What an event says, None for a comment."""
    if event.startswith(b"data:") and event.count(b"\n") == 2 and b"\r" not in event:  # the usual: one line
        return event[5:-2].lstrip(b" ")
    lines = [line for line in event.splitlines() if line.startswith(b"data:")]
    return b"\n".join(line[5:].removeprefix(b" ") for line in lines) if lines else None


def parse(data: bytes) -> dict[str, Any]:
    """The JSON object of an event. Raises UpstreamFailure (protocol)."""
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise UpstreamFailure("protocol", f"the engine sent broken JSON: {error}") from None
    if not isinstance(value, dict):
        raise UpstreamFailure("protocol", "the engine sent an event that is not an object")
    return value


def without_logprobs(value: dict[str, Any]) -> bytes:
    """The event with the log-probabilities taken out that the client did not ask for."""
    for choice in value.get("choices") or ():
        choice.pop("logprobs", None)
    return b"data: " + orjson.dumps(value) + b"\n\n"


def error_event(message: str, code: str) -> bytes:
    body = {"error": {"message": message, "type": "upstream_error", "param": None, "code": code}}
    return b"data: " + orjson.dumps(body) + b"\n\n"
