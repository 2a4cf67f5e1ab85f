"""Fetch one page: every hop is checked, and the address that was checked is the one that is connected to.

Promises: no request leaves for a host that is not allowed or an address that is not public, redirects included; no
proxy, cookie or credential is ever used; size, time, type and number of redirects are bounded, also for a server that
sends a byte at a time or an answer that unpacks to more than it should. A name is resolved once for each hop, so an
answer that changes between check and connection (rebinding) changes nothing.
"""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field

from vortex.agent.web.rules import Target, allowed_by, follow, read_url
from vortex.errors import WebRefused
from vortex.sandbox.launch.addresses import checked_addresses, resolve

MAX_REDIRECTS = 5
BLOCK_BYTES = 1 << 15
AGENT = "vortex/0.1 (reads pages that its user allowed; no crawling)"
TYPES = (
    "text/html", "application/xhtml+xml", "text/plain", "text/markdown", "text/x-markdown", "text/x-rst",
    "application/json", "application/xml", "text/xml", "application/rss+xml", "application/atom+xml",
)  # fmt: skip
REDIRECTS = frozenset({301, 302, 303, 307, 308})

Dial = Callable[[str, int, float], socket.socket]


def dial(address: str, port: int, timeout_s: float) -> socket.socket:
    """A connection to exactly this address; there is no name left to resolve."""
    return socket.create_connection((address, port), timeout_s)


@dataclass(frozen=True)
class Page:
    """What came back. `url` is where the last redirect led; `body` is decoded from its transfer, not from its text."""

    url: str
    status: int
    media_type: str
    charset: str
    body: bytes

    @property
    def text(self) -> str:
        try:
            return self.body.decode(self.charset, errors="replace")
        except LookupError:
            return self.body.decode("utf-8", errors="replace")


@dataclass(frozen=True)
class FetchLimits:
    max_bytes: int = 2_000_000
    timeout_s: float = 20.0
    requests_per_minute: int = 20
    types: tuple[str, ...] = TYPES


@dataclass
class Fetcher:
    """`resolve` and `dial` are how names and addresses are reached; `context` is how servers prove who they are."""

    allow_domains: tuple[str, ...]
    limits: FetchLimits = field(default_factory=FetchLimits)
    resolve: Callable[[str, int], list[str]] = resolve
    dial: Dial = dial
    context: ssl.SSLContext = field(default_factory=ssl.create_default_context)

    def __post_init__(self) -> None:
        self._asked: dict[str, list[float]] = {}
        self._lock = threading.Lock()

    def fetch(self, url: str) -> Page:
        """The page behind a URL. Raises WebRefused with the reason, whatever goes wrong."""
        target = read_url(url.split("#", 1)[0])
        deadline = time.monotonic() + self.limits.timeout_s
        for _ in range(MAX_REDIRECTS + 1):
            self.check_allowed(target)
            self._count(target.host)
            answer = self._ask(target, deadline)
            if isinstance(answer, Page):
                return answer
            target = follow(target, answer)
        raise WebRefused(f"{url[:200]} redirects more than {MAX_REDIRECTS} times")

    def check_allowed(self, target: Target) -> None:
        if not allowed_by(target.host, self.allow_domains):
            raise WebRefused(f"{target.host} is not allowed; a person can add it to tools.web.allow_domains")

    def _count(self, host: str) -> None:
        """At most so many requests a minute to one host. Raises WebRefused beyond that."""
        now = time.monotonic()
        with self._lock:
            recent = [moment for moment in self._asked.get(host, []) if now - moment < 60]
            if len(recent) >= self.limits.requests_per_minute:
                raise WebRefused(f"{len(recent)} requests to {host} in a minute; wait before the next")
            self._asked[host] = [*recent, now]

    def _ask(self, target: Target, deadline: float) -> Page | str:
        """One request: a page, or where a redirect points."""
        connection: socket.socket | None = None
        try:
            found = self._resolve(target, deadline)
            connection = self._connect(checked_addresses(target.host, target.port, found), target, deadline)
            with _Deadline(connection, deadline):
                if isinstance(connection, ssl.SSLSocket):
                    connection.do_handshake()
                return self._exchange(connection, target)
        except (OSError, http.client.HTTPException, ValueError) as error:
            if time.monotonic() >= deadline:
                raise WebRefused(f"{target.url} took longer than {self.limits.timeout_s:g} s") from error
            raise WebRefused(f"{target.url}: {error or type(error).__name__}") from error
        finally:
            if connection is not None:
                connection.close()

    def _resolve(self, target: Target, deadline: float) -> list[str]:
        """All addresses of a host, or TimeoutError: the system's resolver has no limit of its own."""
        found: list[list[str] | OSError] = []

        def ask() -> None:
            try:
                found.append(self.resolve(target.host, target.port))
            except OSError as error:
                found.append(error)

        thread = threading.Thread(target=ask, daemon=True)
        thread.start()
        thread.join(max(0.0, deadline - time.monotonic()))
        if not found:
            raise TimeoutError(f"no answer about {target.host}")
        if isinstance(found[0], OSError):
            raise found[0]
        return found[0]

    def _connect(self, addresses: list[str], target: Target, deadline: float) -> socket.socket:
        problem: OSError = OSError("no address")
        for address in addresses:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError("no time left")
            try:
                plain = self.dial(address, target.port, left)
                break
            except OSError as error:
                problem = error
        else:
            raise problem
        if target.scheme == "http":
            return plain
        try:
            return self.context.wrap_socket(plain, server_hostname=target.host, do_handshake_on_connect=False)
        except BaseException:
            plain.close()
            raise

    def _exchange(self, connection: socket.socket, target: Target) -> Page | str:
        client = http.client.HTTPConnection(target.host, target.port)
        client.sock = connection
        client.request(
            "GET", target.path,
            headers={"Host": target.host, "User-Agent": AGENT, "Accept": ", ".join(self.limits.types),
                     "Accept-Encoding": "gzip", "Connection": "close"},
        )  # fmt: skip
        answer = client.getresponse()
        if answer.status in REDIRECTS:
            location = answer.getheader("Location")
            if not location:
                raise WebRefused(f"{target.url} redirects to nowhere")
            return location
        if answer.status != 200:
            raise WebRefused(f"{target.url} answered {answer.status}")
        media_type = answer.headers.get_content_type()
        if media_type not in self.limits.types:
            raise WebRefused(f"{target.url} is {media_type}, which is not read; only text is")
        body = self._read(answer, target)
        return Page(target.url, answer.status, media_type, answer.headers.get_content_charset() or "utf-8", body)

    def _read(self, answer: http.client.HTTPResponse, target: Target) -> bytes:
        """The body, unpacked as it comes, so that neither form ever exceeds the limit."""
        encoding = (answer.getheader("Content-Encoding") or "identity").strip().lower()
        if encoding not in {"identity", "gzip"}:
            raise WebRefused(f"{target.url} is packed as {encoding[:40]}, which was not asked for")
        unpack = zlib.decompressobj(16 + zlib.MAX_WBITS) if encoding == "gzip" else None
        body, raw = b"", 0
        while block := answer.read(BLOCK_BYTES):
            raw += len(block)
            if unpack is not None:
                try:
                    block = unpack.decompress(block, self.limits.max_bytes + 1 - len(body))
                except zlib.error as error:
                    raise WebRefused(f"{target.url} is not the gzip it says it is") from error
            body += block
            if len(body) > self.limits.max_bytes or raw > self.limits.max_bytes:
                raise WebRefused(f"{target.url} is larger than {self.limits.max_bytes} bytes (tools.web.max_bytes)")
        if answer.length:  # the library ends quietly where a server promised more
            raise WebRefused(f"{target.url} ended {answer.length} bytes early")
        return body


class _Deadline:
    """Shut a connection down at a moment, however slowly its other end goes on talking."""

    def __init__(self, connection: socket.socket, deadline: float) -> None:
        self._timer = threading.Timer(max(0.0, deadline - time.monotonic()), self._end, (connection,))
        self._timer.daemon = True

    def __enter__(self) -> None:
        self._timer.start()

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()

    @staticmethod
    def _end(connection: socket.socket) -> None:
        try:
            connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            return  # it has ended by itself
