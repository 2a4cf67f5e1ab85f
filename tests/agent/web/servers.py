"""Servers of the tests' own: one that counts what reaches it, and a DNS server whose answers change."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PUBLIC = "93.184.215.14"
Handler = Callable[[BaseHTTPRequestHandler], None]


class CountingServer:
    """An HTTP server on loopback; `paths` is everything it was asked for."""

    def __init__(self, answer: Handler) -> None:
        paths: list[str] = []

        class Answer(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                paths.append(self.path)
                answer(self)

            def log_message(self, *_: object) -> None:
                return

        self.paths = paths
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        self.dialled: list[tuple[str, int]] = []
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def dial(self, address: str, port: int, timeout_s: float) -> socket.socket:
        """Where a public address would be dialled, this server answers; anything else is really dialled."""
        self.dialled.append((address, port))
        place = ("127.0.0.1", self.port) if address == PUBLIC else (address, port)
        return socket.create_connection(place, timeout_s)

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@contextmanager
def counting(answer: Handler) -> Iterator[CountingServer]:
    server = CountingServer(answer)
    try:
        yield server
    finally:
        server.close()


def send(handler: BaseHTTPRequestHandler, body: bytes, status: int = 200, **headers: str) -> None:
    handler.send_response(status)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    for name, value in {"Content-Type": "text/html", "Content-Length": str(len(body)), **named}.items():
        handler.send_header(name, value)
    handler.end_headers()
    handler.wfile.write(body)


class RebindingDns:
    """Answers every question for an address with the next of `answers`, and the last one from then on."""

    def __init__(self, answers: list[str]) -> None:
        self.answers = answers
        self.asked = 0
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                question, sender = self.socket.recvfrom(512)
            except OSError:
                return
            address = self.answers[min(self.asked, len(self.answers) - 1)]
            self.asked += 1
            head = question[:2] + struct.pack(">HHHHH", 0x8180, 1, 1, 0, 0)
            record = struct.pack(">HHHIH", 0xC00C, 1, 1, 0, 4) + socket.inet_aton(address)
            self.socket.sendto(head + question[12:] + record, sender)

    def resolve(self, host: str, _port: int) -> list[str]:
        """What a resolver without a cache does: ask, and believe."""
        name = b"".join(bytes([len(label)]) + label.encode() for label in host.split(".")) + b"\0"
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(2)
            client.sendto(struct.pack(">HHHHHH", 7, 0x100, 1, 0, 0, 0) + name + b"\0\1\0\1", self.socket.getsockname())
            return [socket.inet_ntoa(client.recv(512)[-4:])]

    def close(self) -> None:
        self.socket.close()


def drip(handler: BaseHTTPRequestHandler, data: bytes, pause_s: float) -> None:
    """A byte at a time; ends when the other side has had enough."""
    try:
        for number in data:
            handler.wfile.write(bytes([number]))
            handler.wfile.flush()
            time.sleep(pause_s)
    except OSError:
        return
