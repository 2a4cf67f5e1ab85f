"""The one way out: what a run with a proxy reaches, and what it does not."""

from __future__ import annotations

import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from vortex.errors import SandboxRefused
from vortex.sandbox import Policy, python_paths, run
from vortex.sandbox.launch.proxy import FilteringProxy

PUBLIC = "93.184.215.14"


class Echo:
    """A server on loopback that says what it was sent, in upper case; `seen` is everything that reached it."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.seen: list[bytes] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            with client:
                data = client.recv(65536)
                self.seen.append(data)
                client.sendall(data.upper())

    def dial(self, address: str, _port: int) -> socket.socket:
        assert address == PUBLIC
        return socket.create_connection(self.listener.getsockname(), 5)


@pytest.fixture
def echo() -> Iterator[Echo]:
    server = Echo()
    yield server
    server.listener.close()


def ask(proxy: FilteringProxy, request: bytes, then: bytes = b"") -> bytes:
    with socket.create_connection(proxy.listener.getsockname(), 5) as client:
        client.sendall(request)
        answer = b""
        if then:
            answer = client.recv(65536)
            client.sendall(then)
        client.shutdown(socket.SHUT_WR)
        while block := client.recv(65536):
            answer += block
        return answer


@pytest.fixture
def proxy(echo: Echo) -> Iterator[FilteringProxy]:
    def find(host: str, _port: int) -> list[str]:
        return ["127.0.0.1"] if host.startswith("inside.") else [PUBLIC]

    listener = socket.create_server(("127.0.0.1", 0))
    proxy = FilteringProxy(listener, ["allowed.test"], find, echo.dial)
    proxy.start()
    yield proxy
    listener.close()


def test_an_allowed_domain_is_let_through(proxy: FilteringProxy, echo: Echo) -> None:
    head = b"Host: evil.test\r\nProxy-Authorization: x\r\nX-Mine: y\r\n\r\n"
    answer = ask(proxy, b"GET http://sub.allowed.test/path?q=1 HTTP/1.1\r\n" + head)
    assert echo.seen == [b"GET /path?q=1 HTTP/1.1\r\nHost: sub.allowed.test\r\nConnection: close\r\nX-Mine: y\r\n\r\n"]
    assert answer == echo.seen[0].upper()
    tunnel = ask(proxy, b"CONNECT allowed.test:443 HTTP/1.1\r\n\r\n", b"inside the tunnel")
    assert tunnel == b"HTTP/1.1 200 Connection established\r\n\r\nINSIDE THE TUNNEL"
    assert proxy.notes == ["proxy let through sub.allowed.test:80", "proxy let through allowed.test:443"]


@pytest.mark.parametrize(
    "request_line",
    [
        "GET http://evil.test/", "CONNECT evil.test:443", "CONNECT allowed.test:22", "CONNECT 127.0.0.1:443",
        "CONNECT [::1]:443", "GET http://127.0.0.1/", "GET http://2130706433/", "GET http://0x7f000001/",
        "GET http://allowed.test@evil.test/", "GET http://allowed.test:8080/", "GET /path", "GET ftp://allowed.test/",
        "CONNECT inside.allowed.test:443", "GET http://inside.allowed.test/", "CONNECT notallowed.test:443",
        "CONNECT allowed.test.evil.test:443", "CONNECT allowed.test", "CONNECT localhost:443", "PRI *",
        "GET http://allowed.test%00.evil.test/", "CONNECT аllowed.test:443",
    ],
)  # fmt: skip
def test_everything_else_is_refused(proxy: FilteringProxy, echo: Echo, request_line: str) -> None:
    answer = ask(proxy, f"{request_line} HTTP/1.1\r\nHost: allowed.test\r\n\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 403 ")
    assert echo.seen == []


def test_a_head_without_end_is_refused(proxy: FilteringProxy) -> None:
    assert ask(proxy, b"GET http://allowed.test/ HTTP/1.1\r\n" + b"X: y\r\n" * 5000).startswith(b"HTTP/1.1 403 ")


@pytest.mark.parametrize("tier", ["namespaces", "bubblewrap"], indirect=True)
def test_a_run_with_a_proxy_has_no_other_way_out(tier: str, tmp_path: Path) -> None:
    script = (
        "import os, socket, urllib.request, urllib.error\n"
        "print(os.environ['https_proxy'], 'C3RNT2_NO_NET' in os.environ)\n"
        "for url in ('http://localhost.allowed.test/', 'http://127.0.0.1:1/', 'http://evil.test/'):\n"
        "    try:\n"
        "        urllib.request.urlopen(url, timeout=10)\n"
        "    except (urllib.error.HTTPError, OSError) as error:\n"
        "        print(getattr(error, 'code', 'no way'))\n"
        "try:\n"
        "    socket.create_connection(('1.1.1.1', 53), 2)\n"
        "except OSError:\n"
        "    print('no way')\n"
    )
    policy = Policy(folder=tmp_path, read=python_paths(), network="proxy", domains=("allowed.invalid",), time_s=20)
    done = run([sys.executable, "-I", "-S", "-c", script], policy, require=tier)
    assert done.stdout.split() == ["http://127.0.0.1:3128", "False", "403", "403", "403", "no", "way"], done.stderr
    assert "proxy refused: evil.test is not an allowed domain" in done.notes


def test_a_tier_without_a_network_of_its_own_refuses(tmp_path: Path) -> None:
    with pytest.raises(SandboxRefused, match="no network to filter"):
        run(["true"], Policy(folder=tmp_path, network="proxy", domains=("a.test",)), require="landlock")
