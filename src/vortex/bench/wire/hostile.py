"""`vortex bench hostile`: what requests that mean no good, or ask for much, do to everybody else.

Bodies of several megabytes are sent while `/healthz` is asked again and again: its worst time is told, and the most
memory the server took above what it had. Schemas that are hard to compile are sent while another answer streams: the
99th percentile of that answer's times between pieces is told, with the schemas and without, in turns. The schemas come
with a limit that no valid answer keeps, so that they are compiled, refused, and take no part in the model's sweeps.
"""

from __future__ import annotations

import asyncio
import io
import json
import statistics
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import aiohttp

from vortex.bench.measurement import CheckFailed
from vortex.bench.report import Report

MANY = 2_000_000
HEAD = b'{"messages":[{"role":"user","content":"x"}],'
CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"
ASKED_EVERY_S = 0.01
LONGEST_S = 600.0
QUESTION = "Tell me about the sea."


def bodies() -> dict[str, tuple[str, bytes]]:
    """What is sent, each below 8 MB, by name: where to, and the bytes."""
    word = "The quick brown fox jumps over the lazy dog. "
    text = json.dumps({"messages": [{"role": "user", "content": word * (7_000_000 // len(word))}]})
    return {
        "2 million lists": (COMPLETIONS, b'{"prompt":[' + b"[]," * MANY + b"[]]}"),
        "2 million tools": (CHAT, HEAD + b'"tools":[' + b"{}," * MANY + b"{}]}"),
        "2 million parts": (CHAT, b'{"messages":[{"role":"user","content":[' + b"1," * MANY + b"1]}]}"),
        "600,000 keys": (CHAT, HEAD + b",".join(b'"k%d":1' % i for i in range(600_000)) + b"}"),
        "90,000 wrong tools": (CHAT, HEAD + b'"tools":[' + b"{}," * 90_000 + b"{}]}"),
        "7 MB of text": (CHAT, text.encode()),
    }


def hard_schemas() -> list[dict[str, Any]]:
    """Schemas whose way out is far, or whose grammar is large. Several fields of each kind, as forms have them."""
    formats = ("email", "uri", "date-time", "duration", "uuid", "ipv6")
    patterns = (r"^\d+px$", r"^.+\.py$", r"^[a-z]{3,40}-[0-9]{2,20}$", r"^(ab|cd)+ef$")
    fields = {f"{name}_{i}": {"type": "string", "format": name} for name in formats for i in range(3)}
    shaped = {f"p{i}": {"type": "string", "pattern": patterns[i % len(patterns)]} for i in range(12)}
    many = {"type": "array", "minItems": 200, "items": {"type": "integer", "minimum": 10}}
    nested: dict[str, Any] = {"type": "string", "minLength": 20}
    for _ in range(8):
        nested = {"type": "object", "properties": {"a": nested, "b": nested}, "required": ["a"]}
    choice = {"anyOf": [_object({f"k{i}": {"enum": [f"{i}-{j}" for j in range(40)]}}) for i in range(40)]}
    return [_object(fields), _object(shaped), _object({"numbers": many}), _object({"tree": nested}), choice]


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


@dataclass(frozen=True, slots=True)
class BodyCost:
    """healthz_s: the worst time of `/healthz` meanwhile. peak_mb: above what was resident before."""

    name: str
    status: int
    took_s: float
    healthz_s: float
    peak_mb: float


@dataclass(frozen=True, slots=True)
class HostileMeasurement:
    """`address`: of a server with the routes of `serve_side`, without `/v1`. rounds: pairs of streams."""

    address: str
    runner: asyncio.Runner
    rounds: int = 5
    new_tokens: int = 256

    def check(self) -> None:
        """A stream must come in pieces, or there is nothing between them to measure."""
        if len(self.runner.run(self._checked_stream())) < self.new_tokens // 4:
            raise CheckFailed("the answer does not come in pieces")

    async def _checked_stream(self) -> list[float]:
        async with self._session() as session:
            return await self._gaps_s(session)

    def measure(self) -> Report:
        costs, alone, beside, compiled = self.runner.run(self._all())
        ratio = statistics.median(hard / plain for plain, hard in zip(alone, beside, strict=True))
        rows = [
            [cost.name, str(cost.status), f"{cost.took_s:.2f}", f"{1e3 * cost.healthz_s:.0f}", f"{cost.peak_mb:.0f}"]
            for cost in costs
        ]
        figures: dict[str, object] = {
            "worst_healthz_ms": round(1e3 * max(cost.healthz_s for cost in costs), 1),
            "worst_peak_mb": round(max(cost.peak_mb for cost in costs)),
            "bodies": {
                cost.name: {
                    "status": cost.status,
                    "seconds": round(cost.took_s, 3),
                    "healthz_ms": round(1e3 * cost.healthz_s, 1),
                    "peak_mb": round(cost.peak_mb, 1),
                }
                for cost in costs
            },
            "rounds": self.rounds,
            "tokens": self.new_tokens,
            "schemas_compiled": compiled,
            "p99_alone_ms": [round(1e3 * one, 2) for one in alone],
            "p99_beside_schemas_ms": [round(1e3 * one, 2) for one in beside],
            "p99_ratio_median": round(ratio, 2),
        }
        title = (
            "bodies that mean no good: the answer, seconds, worst /healthz in ms, MB above what was resident;\n"
            f"another stream's p99 between pieces: {1e3 * statistics.median(alone):.1f} ms alone, "
            f"{1e3 * statistics.median(beside):.1f} ms while hard schemas compile (ratio {ratio:.2f})"
        )
        return Report("hostile", title, ["body", "status", "s", "/healthz", "MB"], rows, figures)

    async def _all(self) -> tuple[list[BodyCost], list[float], list[float], int]:
        async with self._session() as session:
            schemas = _numbered(hard_schemas())
            await self._gaps_s(session)  # warms what warms
            alone, beside, compiled = [], [], 0
            for _ in range(self.rounds):
                alone.append(_p99(await self._gaps_s(session)))
                async with self._compiling(session, schemas) as done:
                    beside.append(_p99(await self._gaps_s(session)))
                compiled += done[0]
            costs = [await self._cost(session, name, *body) for name, body in bodies().items()]
        return costs, alone, beside, compiled

    def _session(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(self.address, timeout=aiohttp.ClientTimeout(total=LONGEST_S))

    async def _gaps_s(self, session: aiohttp.ClientSession) -> list[float]:
        """Seconds between the pieces of one answer."""
        asked = {
            "messages": [{"role": "user", "content": QUESTION}],
            "max_tokens": self.new_tokens,
            "ignore_eos": True,
            "stream": True,
        }
        times = []
        async with session.post(CHAT, json=asked) as response:
            async for line in response.content:
                if line.startswith(b"data: {"):
                    times.append(time.perf_counter())
        return [after - before for before, after in pairwise(times[1:])]

    @asynccontextmanager
    async def _compiling(
        self, session: aiohttp.ClientSession, schemas: Iterator[dict[str, Any]]
    ) -> AsyncIterator[list[int]]:
        """One hard schema after another while the block runs; counts them."""
        done = [0]

        async def send() -> None:
            while True:
                asked = {
                    "messages": [{"role": "user", "content": QUESTION}],
                    "max_tokens": 1,
                    "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": next(schemas)}},
                }
                async with session.post(CHAT, json=asked) as response:
                    await response.read()
                done[0] += 1

        sending = asyncio.create_task(send())
        try:
            yield done
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)

    async def _cost(self, session: aiohttp.ClientSession, name: str, path: str, body: bytes) -> BodyCost:
        before = await self._memory(session)
        worst, is_over = [0.0], asyncio.Event()

        async def ask() -> None:
            while not is_over.is_set():
                began = time.perf_counter()
                async with session.get("/healthz") as response:
                    await response.read()
                worst[0] = max(worst[0], time.perf_counter() - began)
                await asyncio.sleep(ASKED_EVERY_S)

        asking = asyncio.create_task(ask())
        began = time.perf_counter()
        async with session.post(path, data=io.BytesIO(body), headers={"Content-Type": "application/json"}) as response:
            await response.read()
            status = response.status
        took_s = time.perf_counter() - began
        is_over.set()
        await asking
        after = await self._memory(session)
        return BodyCost(name, status, took_s, worst[0], (after["peak_bytes"] - before["resident_bytes"]) / 2**20)

    async def _memory(self, session: aiohttp.ClientSession) -> dict[str, int]:
        async with session.post("/bench/memory") as response:
            found: dict[str, int] = await response.json(content_type=None)
        return found


def _numbered(schemas: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """In turn and for ever, each with a field of its own, so that none was compiled before."""
    number = 0
    while True:
        for schema in schemas:
            number += 1
            extra = {f"field{number}": {"type": "boolean"}}
            yield {"type": "object", "properties": {"inner": schema, **extra}, "required": ["inner", *extra]}


def _p99(gaps_s: Sequence[float]) -> float:
    return sorted(gaps_s)[int((len(gaps_s) - 1) * 0.99)]
