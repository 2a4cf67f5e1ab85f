"""What a client or an engine sends without end is not kept, and an engine that is no engine gets a 502."""

from __future__ import annotations

import asyncio
import tracemalloc
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import pytest

from tests.gateway.http.test_front import echo
from tests.gateway.running import gateway_before

CHAT = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
MANY = 300_000
CHUNKED = b"POST /x HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\n"
BOUND_BYTES = 24 << 20


@asynccontextmanager
async def engine_saying(answer: bytes) -> AsyncIterator[str]:
    """An engine that says these bytes to every request."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer)
            await writer.drain()
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


def answer(content_type: str, body: str, *headers: str) -> bytes:
    head = ["HTTP/1.1 200 OK", f"content-type: {content_type}", f"content-length: {len(body.encode())}", *headers]
    return "\r\n".join([*head, "", body]).encode()


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n\x00\x01",
        b"HTTP/1.1 200 OK\r\n" + b"".join(b"x-%d: %s\r\n" % (number, b"y" * 100) for number in range(2000)) + b"\r\n",
        answer("text/event-stream", 'data: {"choices": [17]}\n\n'),
        answer("text/event-stream", 'data: {"choices": 5}\n\n'),
        answer("text/event-stream", 'data: {"choices": [{"delta": "text"}]}\n\n'),
        answer("text/event-stream", "data: [1, 2]\n\n"),
    ],
    ids=["101", "headers without end", "a number", "no list", "no delta", "a list"],
)
async def test_an_engine_that_is_none_is_a_502(raw: bytes) -> None:
    async with engine_saying(raw) as url, gateway_before(url, LKN_RETRIES="0") as running:
        got = await running.post("/v1/chat/completions", {**CHAT, "stream": True})
        if got.status == 200:  # the stream had begun: its end says so
            assert got.error["message"]
        else:
            assert (got.status, got.json["error"]["code"]) == (502, "engine_protocol")


async def test_usage_of_any_form_is_no_fault() -> None:
    body = '{"choices": [], "usage": {"completion_tokens": "many"}}'
    async with engine_saying(answer("application/json", body)) as url, gateway_before(url) as running:
        assert (await running.post("/v1/chat/completions", CHAT)).status == 200


async def test_who_may_read_an_answer_is_not_the_engines_to_say() -> None:
    raw = answer("application/json", '{"choices": []}', "access-control-allow-origin: *", "x-kept: yes")
    async with engine_saying(raw) as url, gateway_before(url) as running:
        headers = (await running.post("/v1/chat/completions", CHAT)).headers
        assert headers["x-kept"] == "yes"
        assert not [name for name in headers if name.startswith("access-control")]


async def test_attempts_share_one_time() -> None:
    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            await reader.read()
        writer.close()

    server = await asyncio.start_server(hang, "127.0.0.1", 0)
    async with server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        loop = asyncio.get_running_loop()
        async with gateway_before(url, LKN_RETRIES="3", LKN_TOTAL_TIMEOUT_S="0.6") as running:
            began = loop.time()
            got = await running.post("/v1/chat/completions", CHAT)
            assert got.status >= 500
            assert loop.time() - began < 2 * 0.6 + 0.5, "four attempts of 0.6 s each would be 2.4"


def trailers(number: int) -> bytes:
    return b"".join(b"x-%d-%d: %s\r\n" % (number, at, b"y" * 100) for at in range(1000))


async def send_for_ever(port: int, head: bytes, thousand: Callable[[int], bytes]) -> None:
    """Send and never read, until the other side has had enough or everything is out."""
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    with suppress(ConnectionError, TimeoutError):
        writer.write(head)
        for number in range(MANY // 1000):
            writer.write(thousand(number))
            async with asyncio.timeout(0.5):
                await writer.drain()
    writer.transport.abort()


@pytest.mark.parametrize(
    ("head", "thousand"),
    [
        (b"POST /x HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\n", trailers),
        (b"", lambda _: b"GET /x HTTP/1.1\r\nhost: a\r\nx-refuse: 1\r\n\r\n" * 1000),
        (b"", lambda _: b"POST /x HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\n\r\nb" * 1000),
    ],
    ids=["trailers", "refused ahead", "asked ahead"],
)
async def test_a_client_that_only_sends_costs_little(head: bytes, thousand: Callable[[int], bytes]) -> None:
    async with echo() as (_, port):
        tracemalloc.start()
        try:
            await send_for_ever(port, head, thousand)
            peak_bytes = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert peak_bytes < BOUND_BYTES


@pytest.mark.parametrize(
    "headers",
    ["authorization: key-1", "authorization: Bearer wrong\r\nauthorization: Bearer key-1", "host: a@127.0.0.1"],
    ids=["no scheme", "two keys", "a name before the host"],
)
async def test_a_doubtful_head_is_refused(headers: str) -> None:
    host = "" if headers.startswith("host") else "host: 127.0.0.1\r\n"
    async with gateway_before("http://127.0.0.1:9", LKN_API_KEY="key-1") as running:
        port = int(running.url.rpartition(":")[2])
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(f"GET /v1/models HTTP/1.1\r\n{host}{headers}\r\nconnection: close\r\n\r\n".encode())
        status = int((await reader.read()).split()[1])
        writer.close()
    assert status == (421 if headers.startswith("host") else 401)
