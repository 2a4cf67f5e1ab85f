"""The one way out of a run that may use the network: an HTTP proxy on its loopback that knows where it may go.

The command's network namespace has no other interface. Promises: connections only to allowed domains, on ports 80 and
443, to addresses that were checked to be public and are then connected to; a bounded number at a time and of bytes in
all. Does not look into TLS: to an allowed domain, anything may be said.
"""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Callable

from vortex.sandbox.launch.addresses import checked_addresses, resolve

HEAD_BYTES = 16_384
BLOCK_BYTES = 65_536
TIMEOUT_S = 30.0
MAX_CONNECTIONS = 16
MAX_TOTAL_BYTES = 1 << 30
PORTS = (80, 443)
NAME = re.compile(r"(?=.{4,253}$)(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)+[a-z][a-z0-9-]{0,61}[a-z0-9]")
REQUEST = re.compile(r"([A-Z]{3,10}) (\S{1,4096}) HTTP/1\.[01]")
URL = re.compile(r"http://([^/:@\[\]]+)(?::80)?(/.*)?")
AUTHORITY = re.compile(r"([^/:@\[\]]+):(\d{1,5})")


class FilteringProxy:
    """Serves one listening socket until it is closed. `notes` says what was let through and what was not."""

    def __init__(
        self,
        listener: socket.socket,
        domains: list[str],
        find: Callable[[str, int], list[str]] = resolve,
        dial: Callable[[str, int], socket.socket] = lambda address, port: socket.create_connection(
            (address, port), TIMEOUT_S
        ),
    ) -> None:
        self.listener = listener
        self.domains = [domain.lower().strip().removeprefix("*.").rstrip(".") for domain in domains]
        self.find, self.dial = find, dial
        self.notes: list[str] = []
        self._slots = threading.BoundedSemaphore(MAX_CONNECTIONS)
        self._left = MAX_TOTAL_BYTES

    def start(self) -> None:
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            if not self._slots.acquire(blocking=False):
                client.close()
                continue
            threading.Thread(target=self._handle, args=(client,), daemon=True).start()

    def _handle(self, client: socket.socket) -> None:
        with client:
            try:
                client.settimeout(TIMEOUT_S)
                self._serve_one(client)
            except PermissionError as error:
                self._refuse(client, str(error))
            except (OSError, ValueError) as error:
                self._note(f"proxy: {error}")
            finally:
                self._slots.release()

    def _serve_one(self, client: socket.socket) -> None:
        head, rest = _read_head(client)
        method, host, port, first = self._wanted(head)
        with self._connect(host, port) as server:
            self._note(f"proxy let through {host}:{port}")
            server.settimeout(TIMEOUT_S)
            if method == "CONNECT":
                client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                server.sendall(rest)
            else:
                server.sendall(first + rest)
            self._relay(client, server)

    def _wanted(self, head: str) -> tuple[str, str, int, bytes]:
        """Method, host, port, and what to send on. Raises PermissionError for anything that may not go out."""
        lines = head.split("\r\n")
        request = REQUEST.fullmatch(lines[0])
        if not request:
            raise PermissionError("that is no request to a proxy")
        method, target = request[1], request[2]
        match = AUTHORITY.fullmatch(target) if method == "CONNECT" else URL.fullmatch(target)
        if not match:
            raise PermissionError(f"{target[:80]!r} is not let through")
        host = match[1].lower().rstrip(".")
        port = int(match[2]) if method == "CONNECT" else 80
        if port not in PORTS or not NAME.fullmatch(host):
            raise PermissionError(f"{host[:80]}:{port} is not let through; only domains on ports 80 and 443 are")
        if not any(host == domain or host.endswith("." + domain) for domain in self.domains if domain):
            raise PermissionError(f"{host} is not an allowed domain")
        kept = [
            line for line in lines[1:]
            if line and not line.lower().startswith(("proxy-", "host:", "connection:", "keep-alive:"))
        ]  # fmt: skip
        path = (match[2] or "/") if method != "CONNECT" else ""
        first = "\r\n".join([f"{method} {path} HTTP/1.1", f"Host: {host}", "Connection: close", *kept, "", ""])
        return method, host, port, first.encode("latin-1")

    def _connect(self, host: str, port: int) -> socket.socket:
        problem: OSError = OSError(f"{host} has no address")
        for address in checked_addresses(host, port, self.find(host, port)):
            try:
                return self.dial(address, port)
            except OSError as error:
                problem = error
        raise problem

    def _relay(self, client: socket.socket, server: socket.socket) -> None:
        """Both ways until both ends are done."""
        back = threading.Thread(target=self._copy, args=(server, client), daemon=True)
        back.start()
        self._copy(client, server)
        back.join()

    def _copy(self, source: socket.socket, target: socket.socket) -> None:
        try:
            while block := source.recv(BLOCK_BYTES):
                self._left -= len(block)
                if self._left < 0:
                    self._note("proxy: no more bytes are let through in this run")
                    break
                target.sendall(block)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            return  # one end has gone; the other copy sees it too

    def _refuse(self, client: socket.socket, reason: str) -> None:
        self._note(f"proxy refused: {reason}")
        try:
            body = reason.encode(errors="replace") + b"\n"
            head = f"HTTP/1.1 403 Forbidden\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
            client.sendall(head.encode() + body)
        except OSError:
            return  # it did not wait for the answer

    def _note(self, line: str) -> None:
        if line not in self.notes and len(self.notes) < 100:
            self.notes.append(line)


def _read_head(client: socket.socket) -> tuple[str, bytes]:
    data = b""
    while b"\r\n\r\n" not in data:
        block = client.recv(BLOCK_BYTES)
        if not block or len(data) > HEAD_BYTES:
            raise PermissionError("a request that never ends its head")
        data += block
    head, _, rest = data.partition(b"\r\n\r\n")
    return head.decode("latin-1"), rest
