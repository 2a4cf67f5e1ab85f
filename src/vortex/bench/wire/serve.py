"""`vortex bench serve`: what clients of the server meet at 1, 4 and 16 streams, beside the bare engine.

One process holds the engine and the server; this one is the client. Bare and served answers take turns on the same
engine, and each served one is compared with the mean of the bare ones before and after it, so that a machine which
slows or speeds up is not taken for overhead. How far two bare neighbours differ is told too: it is what the figures are
worth. What HTTP adds is measured at a client that reads bytes and parses nothing: an upper bound, with the client's own
work on the same cores in it. The server's own work is told beside it, as processor time of its thread.
"""

from __future__ import annotations

import asyncio
import re
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import orjson

from vortex.backends.openai_wire import request_body
from vortex.bench.measurement import CheckFailed
from vortex.bench.report import Report
from vortex.bench.wire.http_probe import HttpProbe
from vortex.bench.wire.serve_side import Heard, request_of

STREAMS = (1, 4, 16)
FIRST_WORDS = b'"delta":{"content":'
COUNTED = re.compile(rb'"completion_tokens":(\d+)')
CONTENT = re.compile(rb'"delta":\{"content":("(?:[^"\\]|\\.)*")')
QUESTION = "What is the capital of France?"
SHORT_TOKENS = 2


@dataclass(frozen=True, slots=True)
class Round:
    """All answers of one moment; seconds from the first request to the last token; the loop's thread's own work."""

    heard: Sequence[Heard]
    wall_s: float
    work_s: float

    @property
    def num_tokens(self) -> int:
        return sum(one.num_tokens for one in self.heard)

    @property
    def first_ms(self) -> float:
        return statistics.median(1e3 * one.first_s for one in self.heard)

    @property
    def token_us(self) -> float:
        return statistics.median(1e6 * one.token_s for one in self.heard)

    @property
    def work_token_us(self) -> float:
        return 1e6 * self.work_s / self.num_tokens


@dataclass(frozen=True, slots=True)
class Turns:
    """One more bare round than served ones, in turns, a bare one first."""

    bare: Sequence[Round]
    served: Sequence[Round]

    def added(self, value: Callable[[Round], float]) -> float:
        """Median of a served round's value less the mean of its two bare neighbours'."""
        neighbours = zip(self.bare, self.served, self.bare[1:], strict=False)
        return statistics.median(
            value(served) - (value(before) + value(after)) / 2 for before, served, after in neighbours
        )

    def scatter(self, value: Callable[[Round], float]) -> float:
        """Half the width of the middle half of a bare round's difference from the mean of its bare neighbours, over
        the root of their number: about the standard error of `added`."""
        rests = sorted(
            value(middle) - (value(before) + value(after)) / 2
            for before, middle, after in zip(self.bare, self.bare[1:], self.bare[2:], strict=False)
        )
        if len(rests) < 4:
            return float("nan")
        spread = (rests[3 * len(rests) // 4] - rests[len(rests) // 4]) / 2
        return spread * 1.25 / 0.674 / len(rests) ** 0.5  # of a median, from quartiles


@dataclass(frozen=True, slots=True)
class ServeMeasurement:
    """`address`: of a server with the routes of `serve_side`, without `/v1`. runs: at one stream; a quarter of them
    at more. short_runs: short answers at one stream, for the time to the first token."""

    address: str
    runner: asyncio.Runner
    new_tokens: int = 64
    runs: int = 24
    short_runs: int = 60
    streams: Sequence[int] = STREAMS

    def check(self) -> None:
        """Both ways must give the same text."""
        bare, served = self.runner.run(self._both())
        if not bare or bare != served:
            raise CheckFailed(f"the server answers {served!r} where the engine answers {bare!r}")

    async def _both(self) -> tuple[str, str]:
        fields = {"content": QUESTION, "max_tokens": 8, "ignore_eos": False}
        control, probe = self._control(), self._probe()
        bare = orjson.loads((await control.post(orjson.dumps([fields]))).body)["heard"][0]["text"]
        body = (await probe.post(_body(fields))).body
        await control.close()
        await probe.close()
        return bare, "".join(orjson.loads(text) for text in CONTENT.findall(body))

    def measure(self) -> Report:
        rows: list[list[str]] = []
        figures: dict[str, object] = {"runs": self.runs, "short_runs": self.short_runs, "new_tokens": self.new_tokens}
        bars: dict[str, float] = {}
        for streams in self.streams:
            runs = self.runs if streams == 1 else max(2, self.runs // 4)
            turns = self.runner.run(self._turns(streams, runs, self.new_tokens))
            short = self.runner.run(self._turns(1, self.short_runs, SHORT_TOKENS)) if streams == 1 else turns
            found = _figures(turns, short)
            figures |= {f"streams_{streams}_{name}": round(value, 2) for name, value in found.items()}
            rows.append([str(streams), *_cells(found)])
            bars[f"{streams} streams"] = found["tokens_per_s"]
        columns = ["streams", "first p50", "p99", "tok/s", "bare", "to the first", "a token, µs", "own work"]
        title = (
            "the server beside the bare engine: ms to the first token, tokens/s;\n"
            "added to the first in ms, added a token in µs, µs a token of the server's own work"
        )
        return Report("serve", title, columns, rows, figures, bars, "tokens/s")

    async def _turns(self, streams: int, runs: int, new_tokens: int) -> Turns:
        control, work, probe = self._control(), HttpProbe(f"{self.address}/bench/work", b"{}"), self._probe()
        count = 0

        def fields() -> dict[str, object]:
            """A question of its own from the first word on, always as long, so that none reuses another's prefix."""
            nonlocal count
            count += 1
            return {"content": f"{count:05}: {QUESTION}", "max_tokens": new_tokens, "ignore_eos": True}

        async def bare() -> Round:
            found = orjson.loads((await control.post(orjson.dumps([fields() for _ in range(streams)]))).body)
            return Round([Heard(**one) for one in found["heard"]], found["wall_s"], found["work_s"])

        async def served() -> Round:
            bodies = [_body(fields()) for _ in range(streams)]
            before = orjson.loads((await work.post()).body)["work_s"]
            started = time.perf_counter()
            heard = await asyncio.gather(*(_read(probe, body) for body in bodies))
            wall_s = time.perf_counter() - started
            return Round(heard, wall_s, orjson.loads((await work.post()).body)["work_s"] - before)

        await bare(), await served()  # opens the connections, and wakes what sleeps
        rounds = [await bare()]
        over_http = []
        for _ in range(runs):
            over_http.append(await served())
            rounds.append(await bare())
        for one in (control, work, probe):
            await one.close()
        return Turns(rounds, over_http)

    def _control(self) -> HttpProbe:
        return HttpProbe(f"{self.address}/bench/bare", b"")

    def _probe(self) -> HttpProbe:
        return HttpProbe(f"{self.address}/v1/chat/completions", b"", mark=FIRST_WORDS)


def _figures(turns: Turns, short: Turns) -> dict[str, float]:
    """`short` gives the times to the first token."""
    firsts_ms = sorted(1e3 * one.first_s for served in short.served for one in served.heard)

    def first(one: Round) -> float:
        return one.first_ms

    def token(one: Round) -> float:
        return one.token_us

    return {
        "first_p50_ms": statistics.median(firsts_ms),
        "first_p99_ms": firsts_ms[int((len(firsts_ms) - 1) * 0.99)],
        "tokens_per_s": statistics.median(one.num_tokens / one.wall_s for one in turns.served),
        "bare_tokens_per_s": statistics.median(one.num_tokens / one.wall_s for one in turns.bare),
        "added_first_ms": short.added(first),
        "added_first_error_ms": short.scatter(first),
        "added_token_us": turns.added(token),
        "added_token_error_us": turns.scatter(token),
        "work_token_us": turns.added(lambda one: one.work_token_us),
        "work_answer_us": short.added(lambda one: 1e6 * one.work_s / len(one.heard)),
    }


def _cells(found: dict[str, float]) -> list[str]:
    speed = [f"{found[name]:.1f}" for name in ("first_p50_ms", "first_p99_ms", "tokens_per_s", "bare_tokens_per_s")]
    first = f"{found['added_first_ms']:.2f} ± {found['added_first_error_ms']:.2f}"
    token = f"{found['added_token_us']:.0f} ± {found['added_token_error_us']:.0f}"
    return [*speed, first, token, f"{found['work_token_us']:.0f}"]


def _body(fields: dict[str, object]) -> bytes:
    return orjson.dumps(request_body(request_of(fields)))


async def _read(probe: HttpProbe, body: bytes) -> Heard:
    """One streamed answer as bytes: nobody needs its text."""
    timing = await probe.post(body)
    counted = COUNTED.search(timing.body)
    if counted is None:
        raise CheckFailed("the server's stream does not tell its usage")
    return Heard("", timing.first_ms / 1000, timing.whole_ms / 1000, int(counted[1]))
