"""The clients' side of the wire, byte by byte: framings, order, limits, and what is no HTTP at all."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.gateway.running import Running, both
from vortex.backends.fake_engine import Script
from vortex.gateway.http.client_connection import HEAD_LIMIT_BYTES
from vortex.gateway.http.front import Front
from vortex.gateway.http.wire import Limits, Refusal, Reply, Request
from vortex.gateway.serve import listen

SOON_S = 3.0
CHAT = json.dumps({"messages": [{"role": "user", "content": "hi"}]}).encode()
STREAM = json.dumps({"messages": [{"role": "user", "content": "hi"}], "stream": True}).encode()


class Echo:
    """Answers with the body it got; `/slow` takes its time; a key is asked for where a request says so."""

    def __init__(self) -> None:
        self.cancelled = 0

    def refuse(self, request: Request) -> Refusal | None:
        return Refusal(401, "no", "no") if b"x-refuse" in request.headers else None

    async def serve(self, request: Request, reply: Reply) -> None:
        try:
            if request.path == "/slow":
                await asyncio.sleep(0.2)
            if request.path == "/hang":
                await asyncio.sleep(60)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if request.path == "/pieces":
            reply.start(200, [])
            for start in range(0, len(request.body), 3):
                await reply.write(request.body[start : start + 3])
            reply.end()
        else:
            reply.whole(200, [(b"x-path", request.path.encode())], request.body)


@asynccontextmanager
async def echo(**limits: float) -> AsyncIterator[tuple[Echo, int]]:
    application = Echo()
    front = Front(application, Limits(**{"body_bytes": 1000, "stall_s": 60, **limits}))
    listener = listen("127.0.0.1", 0)
    await front.start(listener)
    try:
        yield application, listener.getsockname()[1]
    finally:
        await front.stop(0.1)


async def say(port: int, *pieces: bytes, pause_s: float = 0.0) -> bytes:
    """Everything the gateway answers until it closes the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for piece in pieces:
        writer.write(piece)
        await writer.drain()
        await asyncio.sleep(pause_s)
    try:
        async with asyncio.timeout(SOON_S):
            return await reader.read()
    finally:
        writer.close()


def post(body: bytes, path: str = "/x", *headers: str, last: bool = True) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "host: 127.0.0.1", f"content-length: {len(body)}", *headers]
    return "\r\n".join([*lines, *(["connection: close"] if last else []), "", ""]).encode() + body


def bodies(raw: bytes) -> list[tuple[int, bytes]]:
    """Status and body of each answer with a length."""
    found = []
    while raw:
        head, _, rest = raw.partition(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        found.append((int(head.split()[1]), rest[:length]))
        raw = rest[length:]
    return found


@pytest.mark.parametrize("step", [1, 5, 10_000])
async def test_a_request_however_it_is_cut(step: int) -> None:
    async with echo() as (_, port):
        raw = post(b"hello", "/a%20b?c=d")
        answer = await say(port, *(raw[at : at + step] for at in range(0, len(raw), step)))
        assert bodies(answer) == [(200, b"hello")]
        assert b"x-path: /a b\r\n" in answer
        assert b"\r\nconnection: close\r\n" in answer
        chunked = b"POST /x HTTP/1.1\r\nhost: h\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n"
        chunked += b"2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"
        answer = await say(port, *(chunked[at : at + step] for at in range(0, len(chunked), step)))
        assert bodies(answer) == [(200, b"hello")]


async def test_requests_sent_ahead_are_answered_in_order() -> None:
    async with echo() as (_, port):
        ahead = [post(b"1", "/slow", last=False), post(b"2", "/x", "x-refuse: 1", last=False)]
        ahead += [post(b"%d" % number, last=False) for number in range(3, 400)]
        answers = bodies(await say(port, b"".join([*ahead, post(b"400", "/slow")])))
        assert [status for status, _ in answers] == [200, 401, *[200] * 398]
        assert [int(body) for status, body in answers if status == 200] == [1, *range(3, 401)]


async def test_a_body_in_pieces_is_chunked_for_1_1_and_ends_with_the_connection_for_1_0() -> None:
    async with echo() as (_, port):
        assert (await say(port, post(b"hello", "/pieces"))).endswith(b"\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n")
        old = b"POST /pieces HTTP/1.0\r\nhost: h\r\ncontent-length: 5\r\n\r\nhello"
        answer = await say(port, old)
        assert answer.endswith(b"connection: close\r\n\r\nhello")
        assert b"chunked" not in answer


async def test_head_has_no_body_and_a_body_is_asked_for_with_100_continue() -> None:
    async with echo() as (_, port):
        head = await say(port, b"HEAD /x HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n")
        assert head.endswith(b"\r\n\r\n")
        raw = post(b"hello", "/x", "expect: 100-continue")
        at = raw.index(b"hello")
        answer = await say(port, raw[:at], raw[at:], pause_s=0.05)
        assert answer.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n")
        refused = await say(port, post(b"hello", "/x", "expect: 100-continue", "x-refuse: 1"))
        assert refused.startswith(b"HTTP/1.1 401 ")


async def test_what_is_refused_is_not_kept_and_the_connection_goes_on() -> None:
    async with echo() as (_, port):
        raw = post(b"y" * 900, "/x", "x-refuse: 1", last=False) + post(b"next")
        assert [status for status, _ in bodies(await say(port, raw))] == [401, 200]


@pytest.mark.parametrize("framing", ["content-length: 5000", "transfer-encoding: chunked"])
async def test_too_large_a_body_is_told_before_it_is_sent_whole(framing: str) -> None:
    async with echo() as (_, port):
        raw = f"POST /x HTTP/1.1\r\nhost: h\r\n{framing}\r\n\r\n".encode()
        raw += b"bb8\r\n" + b"z" * 3000 if "chunked" in framing else b"z" * 3000
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(raw)
        async with asyncio.timeout(SOON_S):
            answer = await reader.readuntil(b"too_large")
        assert answer.startswith(b"HTTP/1.1 413 ")
        assert b"LKN_MAX_BODY_BYTES" in answer
        writer.close()


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01", 400),
        (b"GET / HTTP/1.1\r\nhost h\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nx: " + b"a" * (HEAD_LIMIT_BYTES + 10), 431),
    ],
)
async def test_what_is_no_request_is_told_and_the_connection_ended(raw: bytes, status: int) -> None:
    async with echo() as (_, port):
        assert (await say(port, raw)).startswith(b"HTTP/1.1 %d " % status)
        assert bodies(await say(port, post(b"hello"))) == [(200, b"hello")]


async def test_an_upgrade_is_not_made() -> None:
    async with echo() as (_, port):
        raw = b"GET /x HTTP/1.1\r\nhost: h\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\nnoise"
        assert bodies(await say(port, raw)) == [(200, b"")]


async def test_a_path_is_handed_on_as_it_came_and_never_out_of_v1() -> None:
    async with both() as (fake, running):
        hidden = post(b"{}", "/v1/embeddings%20HTTP/1.1%0d%0ax-hidden:%20yes%0d%0a?a=%0d%0ax-hidden:%20yes")
        assert (await say(_port(running), hidden)).startswith(b"HTTP/1.1 404 ")
        usual = post(b'{"input": "x"}', "/v1/%65mbeddings?a=b%20c")
        assert (await say(_port(running), usual)).startswith(b"HTTP/1.1 200 ")
        assert len(fake.observed.headers) >= 1
        assert not any("x-hidden" in headers for headers in fake.observed.headers)
        seen = fake.observed.counts["requests"]
        for way_out in ("/v1/../v1/embeddings", "/v1/%2e%2e/v1/embeddings", "/v1/x/..%2f../embeddings"):
            assert (await say(_port(running), post(b"{}", way_out))).startswith(b"HTTP/1.1 404 ")
        assert fake.observed.counts["requests"] == seen


async def test_two_hosts_are_none() -> None:
    async with both() as (_, running):
        raw = b"GET /healthz HTTP/1.1\r\nhost: 127.0.0.1\r\nhost: %b\r\nconnection: close\r\n\r\n"
        for second in (b"evil.example", b"127.0.0.1"):
            assert (await say(_port(running), raw % second)).startswith(b"HTTP/1.1 421 ")


async def test_silent_clients_are_let_go_and_leaving_ones_cancel_their_work() -> None:
    async with echo(idle_s=0.1, stall_s=0.2) as (application, port):
        started = time.monotonic()
        assert await say(port, b"POST /x HTTP/1.1\r\nhost: h\r\ncontent-length: 10\r\n\r\nhal") == b""
        assert time.monotonic() - started < SOON_S
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(post(b"", "/hang"))
        await asyncio.sleep(0.3)
        assert application.cancelled == 0, "a client that waits for its answer is not idle"
        writer.transport.abort()
        async with asyncio.timeout(SOON_S):
            while not application.cancelled:
                await asyncio.sleep(0.005)


async def test_a_stop_lets_answers_end_and_cancels_what_does_not() -> None:
    application = Echo()
    front = Front(application, Limits(1000, 60))
    listener = listen("127.0.0.1", 0)
    port = listener.getsockname()[1]
    await front.start(listener)
    slow = asyncio.create_task(say(port, post(b"done", "/slow")))
    hanging = asyncio.create_task(say(port, post(b"", "/hang")))
    await asyncio.sleep(0.05)
    started = time.monotonic()
    await front.stop(0.5)
    assert time.monotonic() - started < SOON_S
    assert bodies(await slow) == [(200, b"done")]
    assert await hanging == b""
    assert application.cancelled == 1
    with pytest.raises(OSError, match=r"refused|Connect call failed"):
        socket.create_connection(("127.0.0.1", port), 1).close()


async def test_the_gateway_streams_to_old_clients_and_to_those_who_ask_ahead() -> None:
    async with both(Script(num_tokens=3)) as (fake, running):
        port = _port(running)
        old = b"POST /v1/chat/completions HTTP/1.0\r\nhost: 127.0.0.1\r\ncontent-length: %d\r\n\r\n" % len(STREAM)
        answer = await say(port, old + STREAM)
        assert answer.endswith(b"data: [DONE]\n\n")
        assert b"transfer-encoding" not in answer.partition(b"\r\n\r\n")[0]
        path = "/v1/chat/completions"
        both_at_once = await say(port, post(STREAM, path, last=False) + post(CHAT, path))
        assert both_at_once.count(b"HTTP/1.1 200 OK") == 2
        assert both_at_once.index(b"[DONE]") < both_at_once.index(b'"chat.completion"')
        assert fake.observed.counts["requests"] == 3


def _port(running: Running) -> int:
    return int(running.url.rpartition(":")[2])
