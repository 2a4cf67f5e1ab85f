"""`vortex bench fuzz-web`: a sanitiser and a fetcher against made-up input, for as long as is asked.

Both are handed in. A fetch gets its answer from a socket that sends whatever the fuzzer thought of: broken heads,
lengths that lie, chunks that never end, packed bombs. Only a page or a refusal may come of it, in bounded time. The
seed is printed and makes the same inputs again.
"""

from __future__ import annotations

import gzip
import random
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from vortex.bench.measurement import CheckFailed
from vortex.bench.report import Report
from vortex.bench.sandbox.injections import AROUND, read_strings

LONGEST_S = 5.0
HEADS = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 30\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-16\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
    b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1/\r\n\r\n",
    b"HTTP/1.1 301 Moved\r\nLocation: //[::1]:80\\@x\r\n\r\n",
    b"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\nContent-Encoding: gzip\r\n\r\n" + gzip.compress(b"x" * 3_000_000),
    b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: -5\r\n\r\nbody",
    b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nTransfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFF\r\n",
    b"HTTP/1.1 204 \r\n\r\n",
    b"HTTP/0.9 hello",
)
ALPHABET = "ab \n\t.,!?:;<>|[]{}()\"'\\/=+-_#*`~^%$&@0123456789ñé中а\u200b\u202e\ufeff\U000e0041\ud7ff\x00\x1b"


@dataclass
class FuzzMeasurement:
    """`clean`: text to text. `fetch`: given how to dial, one page or a WebRefused; anything else is a fault."""

    clean: Callable[[str], str]
    fetch: Callable[[Callable[[str, int, float], socket.socket]], str]
    seconds: float = 120.0
    seed: int = 1
    slowest_s: float = field(default=0.0, init=False)

    def check(self) -> None:
        if not self.clean(AROUND[0]).strip():
            raise CheckFailed("the sanitiser leaves nothing of an ordinary page")

    def measure(self) -> Report:
        rng = random.Random(self.seed)
        texts = [str(row["text"]) for row in read_strings(None)]
        counts = Counter[str]()
        end = time.monotonic() + self.seconds
        while time.monotonic() < end:
            if rng.random() < 0.5:
                self._timed(partial(self.clean, made_text(rng, texts)))
                counts["sanitised"] += 1
            else:
                outcome = self._timed(partial(self.fetch, _dial(made_answer(rng))))
                counts[f"fetched: {outcome}"] += 1
        rows = [[name, str(count)] for name, count in sorted(counts.items())]
        rows.append(["slowest ms", f"{self.slowest_s * 1000:.0f}"])
        figures: dict[str, object] = {"inputs": counts.total(), "faults": 0, "seed": self.seed, "seconds": self.seconds}
        figures |= {"by_outcome": dict(counts), "slowest_ms": round(self.slowest_s * 1000)}
        return Report(
            "fuzz-web", f"Made-up input for {self.seconds:g} s, seed {self.seed}", ["input", "count"], rows, figures
        )

    def _timed(self, step: Callable[[], str]) -> str:
        began = time.perf_counter()
        outcome = step()
        took = time.perf_counter() - began
        self.slowest_s = max(self.slowest_s, took)
        if took > LONGEST_S:
            raise CheckFailed(f"one input took {took:.1f} s; --seed {self.seed} makes it again")
        return outcome


def made_text(rng: random.Random, texts: list[str]) -> str:
    """Pieces of strings that address a model, of ordinary text, and of odd characters, put together and damaged."""
    parts = []
    for _ in range(rng.randrange(1, 12)):
        kind = rng.randrange(4)
        if kind == 0:
            parts.append(rng.choice(texts))
        elif kind == 1:
            parts.append(rng.choice(AROUND))
        elif kind == 2:
            parts.append("".join(rng.choice(ALPHABET) for _ in range(rng.randrange(200))))
        else:
            parts.append(rng.choice(ALPHABET) * rng.randrange(1, 3000))
    text = rng.choice(["", " ", "\n"]).join(parts)
    for _ in range(rng.randrange(4)):
        place = rng.randrange(len(text) + 1)
        text = text[:place] + rng.choice(ALPHABET) + text[place + rng.randrange(3) :]
    return text


def made_answer(rng: random.Random) -> bytes:
    """A head from the list, with bytes changed, removed, repeated, and a tail of noise."""
    data = bytearray(rng.choice(HEADS))
    for _ in range(rng.randrange(8)):
        place = rng.randrange(len(data))
        kind = rng.randrange(3)
        if kind == 0:
            data[place] = rng.randrange(256)
        elif kind == 1:
            del data[place : place + rng.randrange(1, 20)]
            data += b"\r\n" if not data else b""
        else:
            data[place:place] = data[place : place + rng.randrange(1, 50)] * rng.randrange(1, 50)
    return bytes(data) + rng.randbytes(rng.randrange(200))


def _dial(answer: bytes) -> Callable[[str, int, float], socket.socket]:
    def dial(_address: str, _port: int, timeout_s: float) -> socket.socket:
        ours, theirs = socket.socketpair()
        ours.settimeout(timeout_s)
        theirs.settimeout(timeout_s)
        threading.Thread(target=_say, args=(theirs, answer), daemon=True).start()
        return ours

    return dial


def _say(connection: socket.socket, answer: bytes) -> None:
    with connection:
        try:
            connection.recv(65536)
            connection.sendall(answer)
        except OSError:
            return  # the fetcher has had enough
