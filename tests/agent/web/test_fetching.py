"""What a hostile or broken server can do to a fetch: nothing but end it."""

from __future__ import annotations

import gzip
import time
from http.server import BaseHTTPRequestHandler

import pytest

from tests.agent.web.servers import PUBLIC, counting, drip, send
from vortex.agent.web.fetching import Fetcher, FetchLimits
from vortex.errors import WebRefused

URL = "http://allowed.test/page"


def fetch(answer: object, **limits: object) -> object:
    with counting(answer) as server:
        fetcher = Fetcher(
            ("allowed.test",), FetchLimits(**{"timeout_s": 5, **limits}), lambda *_: [PUBLIC], server.dial
        )
        return fetcher.fetch(URL)


def test_a_page_with_its_charset() -> None:
    body = "<p>niño</p>".encode("latin-1")
    page = fetch(lambda handler: send(handler, body, Content_Type="text/html; charset=iso-8859-1"))
    assert (page.url, page.media_type, page.text) == (URL, "text/html", "<p>niño</p>")


def test_a_packed_page_is_unpacked() -> None:
    page = fetch(lambda handler: send(handler, gzip.compress(b"hello " * 1000), Content_Encoding="gzip"))
    assert page.body == b"hello " * 1000


def test_nothing_of_the_caller_is_sent() -> None:
    seen: dict[str, str] = {}

    def answer(handler: BaseHTTPRequestHandler) -> None:
        seen.update(handler.headers.items())
        send(handler, b"x")

    fetch(answer)
    assert set(seen) == {"Host", "User-Agent", "Accept", "Accept-Encoding", "Connection"}
    assert seen["Host"] == "allowed.test"


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (lambda h: send(h, b"x" * 2000), "larger than 1000 bytes"),
        (lambda h: send(h, gzip.compress(b"\0" * 5_000_000), Content_Encoding="gzip"), "larger than 1000 bytes"),
        (lambda h: send(h, b"not packed", Content_Encoding="gzip"), "not the gzip"),
        (lambda h: send(h, b"x", Content_Encoding="br"), "packed as br"),
        (lambda h: send(h, b"x", Content_Type="application/octet-stream"), "not read"),
        (lambda h: send(h, b"x", Content_Type="image/svg+xml"), "not read"),
        (lambda h: send(h, b"x", 404), "answered 404"),
        (lambda h: send(h, b"", 302), "redirects to nowhere"),
        (lambda h: send(h, b"", 302, Location="/page"), "redirects more than"),
        (lambda h: send(h, b"short", Content_Length="500"), "bytes early"),
        (lambda h: h.wfile.write(b"nonsense\r\n\r\n"), "nonsense|Bad|bad"),
        (lambda h: h.wfile.write(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 500 + b"\r\n"), "headers"),
        (lambda h: h.wfile.write(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000 + b"\r\n\r\n"), "header"),
        (lambda h: h.wfile.write(b"HTTP/1.1 999999 OK\r\n\r\n"), "999999|status"),
        (lambda h: None, "closed|without response|allowed.test"),
    ],
)
def test_a_hostile_answer_is_a_reason(answer: object, reason: str) -> None:
    with pytest.raises(WebRefused, match=reason):
        fetch(answer, max_bytes=1000)


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n" + b"X-Slow: yes\r\n" * 50,
        b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 500,
    ],
)
def test_a_byte_at_a_time_does_not_stretch_the_time(data: bytes) -> None:
    began = time.monotonic()
    with pytest.raises(WebRefused):
        fetch(lambda handler: drip(handler, data, 0.05), timeout_s=0.4)
    assert time.monotonic() - began < 3


def test_a_name_server_that_never_answers_does_not_stretch_the_time() -> None:
    fetcher = Fetcher(("allowed.test",), FetchLimits(timeout_s=0.2), lambda *_: time.sleep(2) or [PUBLIC])
    began = time.monotonic()
    with pytest.raises(WebRefused, match="longer than"):
        fetcher.fetch(URL)
    assert time.monotonic() - began < 1.5


def test_requests_a_minute_are_counted_by_host() -> None:
    with counting(lambda handler: send(handler, b"x")) as server:
        limits = FetchLimits(requests_per_minute=3)
        fetcher = Fetcher(("allowed.test",), limits, lambda *_: [PUBLIC], server.dial)
        for _ in range(3):
            fetcher.fetch(URL)
        with pytest.raises(WebRefused, match="in a minute"):
            fetcher.fetch(URL)
        fetcher.fetch("http://other.allowed.test/")
        assert len(server.paths) == 4


def test_https_needs_a_certificate_for_the_name() -> None:
    """The server speaks no TLS at all: the handshake fails and nothing of the request was sent."""
    with counting(lambda handler: send(handler, b"x")) as server:
        fetcher = Fetcher(("allowed.test",), FetchLimits(timeout_s=2), lambda *_: [PUBLIC], server.dial)
        with pytest.raises(WebRefused):
            fetcher.fetch("https://allowed.test/")
        assert server.paths == []
