"""No spelling, redirect or change of mind of a name server makes a request leave for a place that is not allowed."""

from __future__ import annotations

import json
import socket
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from tests.agent.web.servers import PUBLIC, CountingServer, RebindingDns, counting, send
from vortex.agent.web.fetching import Fetcher, FetchLimits
from vortex.agent.web.rules import plain_host
from vortex.errors import WebRefused
from vortex.sandbox.launch.addresses import why_not_public

PAYLOADS = json.loads((Path(__file__).parent / "data" / "ssrf_payloads.json").read_text())["payloads"]
LIMITS = FetchLimits(timeout_s=2, requests_per_minute=10_000)
NOT_PUBLIC = (
    "127.0.0.1", "127.8.8.8", "0.0.0.0", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "169.254.169.254",
    "100.64.0.1", "100.127.255.255", "100.100.100.200", "168.63.129.16", "192.0.0.192", "192.0.2.1", "198.18.0.1",
    "198.51.100.1", "203.0.113.1", "192.88.99.1", "224.0.0.1", "239.1.1.1", "240.0.0.1", "255.255.255.255",
    "::", "::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:93.184.215.14", "::127.0.0.1", "64:ff9b::7f00:1",
    "64:ff9b:1::7f00:1", "2002:7f00:1::", "2001:0:7f00:1::", "2001:db8::1", "3fff::1", "fe80::1", "fe80::1%lo",
    "fc00::1", "fd00:ec2::254", "fec0::1", "ff02::1", "2a00::5efe:7f00:1", "2a00::200:5efe:a00:1", "100::1", "5f00::1",
    "", "localhost", "127.1", "2130706433", "0x7f.1", "1.2.3", "::1::", "1.2.3.4/8", "۱۲۷.۰.۰.۱",
)  # fmt: skip


def secret(handler: BaseHTTPRequestHandler) -> None:
    send(handler, b"the inside of this machine")


def system_like(host: str, _port: int) -> list[str]:
    """What a resolver would say: an address stands for itself, however it is spelled; a name is this machine."""
    try:
        return [socket.inet_ntoa(socket.inet_aton(host))]
    except OSError:
        return ["127.0.0.1"]


@pytest.mark.parametrize("allowed", [("allowed.test",), ("allowed.test", "evil.test", "test", "me", "io", "internal")])
def test_no_payload_reaches_anything(allowed: tuple[str, ...]) -> None:
    assert len(PAYLOADS) > 150
    with counting(secret) as server:
        fetcher = Fetcher(allowed, LIMITS, resolve=system_like, dial=server.dial)
        for payload in PAYLOADS:
            with pytest.raises(WebRefused):
                fetcher.fetch(payload.replace("{port}", str(server.port)))
        assert server.dialled == []
        assert server.paths == []


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_an_address_that_is_not_public_is_refused(address: str) -> None:
    assert why_not_public(address)


@pytest.mark.parametrize("address", [PUBLIC, "1.1.1.1", "8.8.8.8", "2606:4700:4700::1111", "2a00:1450:4001:80b::200e"])
def test_a_public_address_is_allowed(address: str) -> None:
    assert why_not_public(address) is None


def test_a_name_that_mixes_public_and_private_is_refused_whole() -> None:
    with counting(secret) as server:
        fetcher = Fetcher(("allowed.test",), LIMITS, resolve=lambda *_: [PUBLIC, "127.0.0.1"], dial=server.dial)
        with pytest.raises(WebRefused, match="not public"):
            fetcher.fetch("http://allowed.test/")
        assert server.dialled == []


@pytest.mark.parametrize("answers", [["127.0.0.1"], [PUBLIC, "127.0.0.1"], [PUBLIC, "169.254.169.254", "127.0.0.1"]])
def test_a_name_server_that_changes_its_mind_gains_nothing(answers: list[str]) -> None:
    """Rebinding: the address that was checked is the one connected to, and a second request checks again."""
    dns = RebindingDns(answers)
    with counting(secret) as outside, counting(secret) as inside:

        def dial(address: str, port: int, timeout_s: float) -> socket.socket:
            place = outside.port if address == PUBLIC else inside.port
            outside.dialled.append((address, port))
            return socket.create_connection(("127.0.0.1", place), timeout_s)

        fetcher = Fetcher(("allowed.test",), LIMITS, resolve=dns.resolve, dial=dial)
        results, reasons = [], []
        for _ in range(4):
            try:
                results.append(fetcher.fetch("http://allowed.test/").status)
            except WebRefused as error:
                reasons.append(str(error))
        dns.close()
        assert all("not public" in reason for reason in reasons)
        assert inside.paths == []
        assert {address for address, _ in outside.dialled} <= {PUBLIC}
        assert len(outside.paths) == answers.count(PUBLIC) == len(results)
        assert dns.asked == 4, "each request asks once"


REDIRECTS = (
    "http://127.0.0.1/", "http://[::1]/", "http://169.254.169.254/latest/", "//127.0.0.1/", "http://2130706433/",
    "http://evil.test/", "file:///etc/passwd", "gopher://127.0.0.1/", "http://allowed.test@127.0.0.1/",
    "http://allowed.test:22/", "http://private.allowed.test/", "https://127.0.0.1/", "http://[::ffff:127.0.0.1]/",
    "\\\\127.0.0.1\\", "//[::1", "http://[/", "http://[::1]x/",
)  # fmt: skip


@pytest.mark.parametrize("location", REDIRECTS)
@pytest.mark.parametrize("status", [301, 307])
def test_a_redirect_is_checked_like_the_first_request(location: str, status: int) -> None:
    def redirect(handler: BaseHTTPRequestHandler) -> None:
        send(handler, b"", status, Location=location)

    def resolve(host: str, _port: int) -> list[str]:
        return ["127.0.0.1"] if host.startswith("private.") else [PUBLIC]

    with counting(redirect) as server:
        fetcher = Fetcher(("allowed.test",), LIMITS, resolve=resolve, dial=server.dial)
        with pytest.raises(WebRefused):
            fetcher.fetch("http://allowed.test/start")
        assert server.paths == ["/start"]
        assert server.dialled == [(PUBLIC, 80)]


def test_proxies_of_the_environment_are_never_used(monkeypatch: pytest.MonkeyPatch) -> None:
    with counting(secret) as proxy, counting(lambda handler: send(handler, b"direct")) as server:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "https_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        fetcher = Fetcher(("allowed.test",), LIMITS, resolve=lambda *_: [PUBLIC], dial=server.dial)
        assert fetcher.fetch("http://allowed.test/").body == b"direct"
        assert proxy.paths == []


def test_names_are_compared_in_one_form() -> None:
    assert plain_host("BÜCHER.example.") == "xn--bcher-kva.example"
    assert plain_host("Docs.Python.org") == "docs.python.org"


def test_the_server_of_these_tests_can_be_reached() -> None:
    with counting(secret) as server:
        assert isinstance(server, CountingServer)
        fetcher = Fetcher(("allowed.test",), LIMITS, resolve=lambda *_: [PUBLIC], dial=server.dial)
        assert fetcher.fetch("http://sub.allowed.test/x?y=1").body == b"the inside of this machine"
        assert server.paths == ["/x?y=1"]
