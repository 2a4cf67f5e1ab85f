"""The wire to the engine and the events on it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vortex.errors import Overloaded
from vortex.gateway.admission import Admission
from vortex.gateway.breaker import Breaker
from vortex.gateway.http.client import HttpClient, UpstreamFailure
from vortex.gateway.http.sse import EventSplitter, data_of, plain_events

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def server(serve: Serve) -> AsyncIterator[HttpClient]:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await serve(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    listener = await asyncio.start_server(handle, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    client = HttpClient(f"http://127.0.0.1:{port}/base", connect_timeout_s=1)
    try:
        yield client
    finally:
        client.close()
        listener.close()
        await asyncio.sleep(0)


async def ask(client: HttpClient) -> tuple[int, bytes]:
    response = await client.send(b"POST", b"/x", [], b"{}")
    try:
        assert await response.head(asyncio.get_running_loop().time() + 2)
        return response.status, await response.read_all(2, 1 << 20)
    finally:
        response.close()


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello",
        b"HTTP/1.0 200 OK\r\n\r\nhello",
    ],
)
@pytest.mark.parametrize("step", [1, 7, 1000])
async def test_every_framing_however_it_is_cut(raw: bytes, step: int) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert (await reader.readuntil(b"\r\n")).startswith(b"POST /base/x HTTP/1.1")
        await reader.readuntil(b"{}")
        for start in range(0, len(raw), step):
            writer.write(raw[start : start + step])
            await writer.drain()
            await asyncio.sleep(0)

    async with server(serve) as client:
        assert await ask(client) == (200, b"hello")


async def test_connections_are_kept_and_a_dead_one_is_not_used() -> None:
    connections = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        for _ in range(2):
            await reader.readuntil(b"{}")
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")

    async with server(serve) as client:
        assert [await ask(client) for _ in range(2)] == [(200, b"ok")] * 2
        assert connections == 1
        await asyncio.sleep(0.05)
        assert await ask(client) == (200, b"ok")
        assert connections == 2


@pytest.mark.parametrize(
    ("raw", "kind"),
    [(b"", "reset"), (b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhe", "reset"), (b"SSH-2.0-x\r\n\r\n", "protocol")],
)
async def test_what_is_no_answer_is_a_failure(raw: bytes, kind: str) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"{}")
        writer.write(raw)
        await writer.drain()

    async with server(serve) as client:
        with pytest.raises(UpstreamFailure) as caught:
            await ask(client)
        assert caught.value.kind == kind


async def test_nobody_reading_pauses_the_engine() -> None:
    sent_bytes = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent_bytes
        await reader.readuntil(b"{}")
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        for _ in range(2000):
            writer.write(b"x" * 65536)
            await writer.drain()
            sent_bytes += 65536

    async with server(serve) as client:
        response = await client.send(b"POST", b"/x", [], b"{}")
        await response.head(asyncio.get_running_loop().time() + 1)
        await asyncio.sleep(0.3)
        assert sent_bytes < 40_000_000, "the kernel's buffers, not ours, are full"
        assert response._connection.buffered_bytes < 1_000_000
        response.close()


# --- events ---

EVENTS = b'data: {"a": 1}\n\n: comment\n\ndata: x\r\n\r\nevent: y\ndata: z\ndata: w\n\ndata: [DONE]\n\n'


@given(st.lists(st.integers(1, 12), min_size=1))
def test_any_cutting_gives_the_same_events(steps: list[int]) -> None:
    splitter, found, position, turn = EventSplitter(), [], 0, 0
    while position < len(EVENTS):
        step = steps[turn % len(steps)]
        found += splitter.feed(EVENTS[position : position + step])
        position, turn = position + step, turn + 1
    assert b"".join(found) + splitter.rest == EVENTS
    assert [data_of(event) for event in found] == [b'{"a": 1}', None, b"x", b"z\nw", b"[DONE]"]


# --- breaker ---


def test_the_breaker_opens_after_consecutive_failures_and_lets_one_probe_pass() -> None:
    now = 0.0
    breaker = Breaker(failures=5, reset_s=30, clock=lambda: now)
    for _ in range(4):
        breaker.enter()
        breaker.fail()
    breaker.enter()
    breaker.succeed()
    for _ in range(5):
        assert breaker.available
        breaker.enter()
        breaker.fail()
    assert (breaker.state, breaker.available, breaker.retry_after_s) == ("open", False, 30)
    now = 30.0
    assert (breaker.state, breaker.available) == ("half_open", True)
    breaker.enter()
    assert not breaker.available
    breaker.leave()
    assert breaker.available, "a probe that was cancelled frees its place"
    breaker.enter()
    breaker.fail()
    assert breaker.retry_after_s == 30
    now = 61.0
    breaker.enter()
    breaker.succeed()
    assert breaker.state == "closed"


# --- admission ---


async def test_people_go_first_and_the_limit_moves() -> None:
    admission = Admission(limit=1, max_queue=10, queue_timeout_s=1)
    order: list[str] = []

    async def visit(name: str, *, low: bool = False) -> None:
        await admission.enter(low_priority=low)
        order.append(name)
        await asyncio.sleep(0.01)
        admission.leave()

    async with asyncio.TaskGroup() as group:
        for name, low in (("first", False), ("title", True), ("second", False)):
            group.create_task(visit(name, low=low))
    assert order == ["first", "second", "title"]
    admission.set_limit(3)
    for _ in range(3):
        await admission.enter()
    assert (admission.active, admission.queued) == (3, 0)


async def test_waiting_is_bounded_in_number_and_time() -> None:
    admission = Admission(limit=1, max_queue=1, queue_timeout_s=0.05)
    await admission.enter()
    waiting = asyncio.create_task(admission.enter())
    await asyncio.sleep(0)
    with pytest.raises(Overloaded):
        await admission.enter()
    with pytest.raises(Overloaded):
        await waiting
    assert admission.queued == 0
    cancelled = asyncio.create_task(admission.enter())
    await asyncio.sleep(0)
    cancelled.cancel()
    await asyncio.gather(cancelled, return_exceptions=True)
    admission.leave()
    assert (admission.active, admission.queued) == (0, 0)


def event_of(kind: str, text: str) -> bytes:
    """An event as engines send them, or as a broken one might."""
    delta: dict[str, object] = {"role": "assistant"} if kind == "role" else {"content": text}
    choice = {"index": 0, "delta": delta, "finish_reason": "stop" if kind == "final" else None}
    value: dict[str, object] = {"id": "x", "choices": [choice]}
    if kind == "usage":
        value = {"id": "x", "choices": [], "usage": {"completion_tokens": 3}}
    if kind == "error":
        value = {"error": {"message": text}}
    raw = json.dumps(value).encode()
    forms = {"cut": raw[: len(raw) // 2], "list": b"[%b]" % raw, "two": raw + b"," + raw, "done": b"[DONE]"}
    forms["text"] = b'{"choices": [{"text": "a"}]}'
    return b": a comment\n\n" if kind == "comment" else b"data: %b\n\n" % forms.get(kind, raw)


KINDS = ["role", "go", "go", "go", "final", "usage", "error", "cut", "list", "two", "text", "done", "comment"]


@given(st.lists(st.tuples(st.sampled_from(KINDS), st.text(max_size=4)), min_size=1, max_size=6), st.integers(0, 3))
def test_a_plain_chunk_says_what_its_events_say_one_by_one(events: list[tuple[str, str]], cut: int) -> None:
    chunk = b"".join(event_of(kind, text) for kind, text in events)
    plain = plain_events(chunk[: len(chunk) - cut])
    usual = {"role", "go", "final", "usage"}
    kinds = [kind for kind, _ in events]
    expected = (
        set(kinds[:-1]) <= usual and kinds[-1] in usual | {"done"} and len(kinds) > (kinds[-1] == "done") and not cut
    )
    assert (plain is not None) == expected
    if plain is not None:
        assert plain.tokens == kinds.count("go")
        assert plain.done == (kinds[-1] == "done")
        assert (plain.final is not None) == ("final" in kinds)
