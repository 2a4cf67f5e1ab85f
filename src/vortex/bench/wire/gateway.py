"""What the gateway adds to a request: paired with going direct, interleaved, at a steady rate, same fake engine.

Requests go out on a clock, not after one another, as clients' do. Each beat sends one request direct and one through
every gateway, in turning order; the difference of a pair is what a gateway added. "engine against itself" is the same
with the engine in the gateway's place: the noise of this machine. Checks first that answers are the engine's bytes, and
at the end that the ledger of all these requests replays: every decision again, byte for byte.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from vortex.bench.measurement import CheckFailed
from vortex.bench.programs import Program, fake_engine, gateway, program
from vortex.bench.report import Report
from vortex.bench.wire.http_probe import HttpProbe, Timing
from vortex.bench.wire.litellm_proxy import litellm_proxy
from vortex.machine.python_program import python_module

PATH = "/v1/chat/completions"
ITSELF, OURS = "engine against itself", "L-kn"
STREAM_TOKENS = 16
CHUNK_STREAMS, CHUNK_TOKENS = 8, 400
WARM_UP_BEATS = 25
COST_REQUESTS = 300
LEDGER = "ledger.jsonl"
LEDGER_SETTLES_S = 1.0  # its lines are written together, four times a second


@dataclass(slots=True)
class Samples:
    """Added milliseconds per pair, of whole answers and of streams' first data."""

    whole: list[float] = field(default_factory=list)
    first: list[float] = field(default_factory=list)


class GatewayMeasurement:
    """`peer_python` names the interpreter that has LiteLLM's proxy (None: without a peer)."""

    def __init__(self, *, seconds: float, rate: float, peer_python: str | None = None) -> None:
        self._seconds = seconds
        self._rate = rate
        self._peer_python = peer_python

    def check(self) -> None:
        """The gateway hands on the engine's bytes, whole and streamed."""
        with tempfile.TemporaryDirectory() as folder, ExitStack() as programs:
            engine, ours = _start(programs, Path(folder))
            for stream in (False, True):
                direct, through = asyncio.run(_bodies((engine.url, ours.url), stream=stream))
                if direct != through:
                    raise CheckFailed(f"the gateway changed an answer (stream={stream})")

    def measure(self) -> Report:
        with tempfile.TemporaryDirectory() as folder, ExitStack() as programs:
            engine, ours = _start(programs, Path(folder))
            peer = None
            if self._peer_python:
                peer = programs.enter_context(litellm_proxy(self._peer_python, engine.url, Path(folder)))
            targets = {ITSELF: engine.url, OURS: ours.url, **({"LiteLLM": peer.url} if peer else {})}
            added = asyncio.run(self._paired(engine.url, targets))
            named = {OURS: ours, **({"LiteLLM": peer} if peer else {})}
            costs = {name: asyncio.run(_per_request(found)) for name, found in named.items()}
            costs[f"{OURS}, a streamed chunk"] = asyncio.run(_per_chunk())
            memory_mb = {name: found.memory_mb() for name, found in named.items()}
            replayed = _replayed(Path(folder) / LEDGER)
        return _report(added, costs, memory_mb, self._rate, replayed)

    async def _paired(self, direct_url: str, targets: Mapping[str, str]) -> dict[str, Samples]:
        added = {name: Samples() for name in targets}
        for stream in (False, True):
            direct = HttpProbe(direct_url + PATH, _body(stream=stream))
            probes = {name: HttpProbe(url + PATH, _body(stream=stream)) for name, url in targets.items()}
            beats = int(self._seconds * self._rate)
            loop, running = asyncio.get_running_loop(), []
            start = loop.time()
            for beat in range(beats + WARM_UP_BEATS):
                await asyncio.sleep(max(0.0, start + beat / self._rate - loop.time()))
                running.append(asyncio.create_task(_beat(direct, probes, beat)))
            for beat_result in (await asyncio.gather(*running))[WARM_UP_BEATS:]:
                for name, (base, timing) in beat_result.items():
                    added[name].whole.append(timing.whole_ms - base.whole_ms)
                    added[name].first.append(timing.first_ms - base.first_ms)
            for probe in (direct, *probes.values()):
                await probe.close()
        return added


def _start(programs: ExitStack, folder: Path) -> tuple[Program, Program]:
    """The engine and the gateway before it, with its defaults."""
    engine = programs.enter_context(program(fake_engine("--tokens", str(STREAM_TOKENS))))
    variables = {"ENGINE_BASE_URL": engine.url, "LKN_LEDGER_PATH": str(folder / LEDGER)}
    return engine, programs.enter_context(program(gateway(), variables))


async def _beat(direct: HttpProbe, probes: Mapping[str, HttpProbe], number: int) -> dict[str, tuple[Timing, Timing]]:
    """For each target a pair (direct, through it), one after the other, in an order that turns."""
    names = list(probes)
    names = names[number % len(names) :] + names[: number % len(names)]
    pairs = {}
    for name in names:
        if number % 2:
            base, timing = await direct.post(), await probes[name].post()
        else:
            timing, base = await probes[name].post(), await direct.post()
        pairs[name] = (base, timing)
    return pairs


def _replayed(path: Path) -> int:
    """How many recorded decisions were decided again, all identical. Raises CheckFailed where one was not."""
    time.sleep(LEDGER_SETTLES_S)
    command = python_module("vortex", "gateway", "replay", str(path), "--json")
    result = subprocess.run(command, check=False, capture_output=True, text=True)
    if result.returncode:
        raise CheckFailed(f"the ledger does not replay: {(result.stdout + result.stderr).strip()[-200:]}")
    return int(json.loads(result.stdout)["requests"])


async def _per_request(gateway_program: Program) -> float:
    """Processor microseconds of a gateway per whole answer: what stays true on a busy machine."""
    probe = HttpProbe(gateway_program.url + PATH, _body(stream=False))
    for _ in range(WARM_UP_BEATS):
        await probe.post()
    before = gateway_program.cpu_s()
    for _ in range(COST_REQUESTS):
        await probe.post()
    await probe.close()
    return (gateway_program.cpu_s() - before) / COST_REQUESTS * 1e6


async def _per_chunk() -> float:
    """Processor microseconds of the gateway per streamed chunk: many paced streams, so that no chunks run together."""
    body = json.loads(_body(stream=True)) | {"messages": [{"role": "user", "content": "hello"}]}
    with ExitStack() as programs:
        paced = programs.enter_context(program(fake_engine("--tokens", str(CHUNK_TOKENS), "--token-ms", "4")))
        variables = {"ENGINE_BASE_URL": paced.url, "LKN_LEDGER": "off"}
        through = programs.enter_context(program(gateway(), variables))
        probes = [HttpProbe(through.url + PATH, json.dumps(body).encode()) for _ in range(CHUNK_STREAMS)]
        await asyncio.gather(*(probe.post() for probe in probes))
        before = through.cpu_s()
        await asyncio.gather(*(probe.post() for probe in probes))
        used_s = through.cpu_s() - before
        for probe in probes:
            await probe.close()
    return used_s / (CHUNK_STREAMS * CHUNK_TOKENS) * 1e6


async def _bodies(urls: Sequence[str], *, stream: bool) -> list[bytes]:
    probes = [HttpProbe(url + PATH, _body(stream=stream)) for url in urls]
    for probe in probes:
        await probe.post()
        await probe.close()
    return [probe.last_body for probe in probes]


def _body(*, stream: bool) -> bytes:
    messages = [
        {"role": "system", "content": "You are a helpful assistant. " * 8},
        {"role": "user", "content": "Tell me about the printing press and the people who used it."},
    ]
    return json.dumps({"model": "fake-model", "messages": messages, "stream": stream}).encode()


def _quantile(values: Sequence[float], share: float) -> float:
    return sorted(values)[min(int(len(values) * share), len(values) - 1)]


def _report(
    added: Mapping[str, Samples],
    costs_us: Mapping[str, float],
    memory_mb: Mapping[str, float],
    rate: float,
    replayed: int,
) -> Report:
    rows: list[list[str]] = []
    figures: dict[str, object] = {"rate_per_s": rate}
    bars: dict[str, float] = {}
    for name, samples in added.items():
        cells = [name]
        for kind, values in (("whole", samples.whole), ("first", samples.first)):
            p50, p99 = statistics.median(values), _quantile(values, 0.99)
            cells += [f"{p50:+.2f}", f"{p99:+.2f}"]
            figures |= {f"{_key(name)}_{kind}_p50_ms": round(p50, 3), f"{_key(name)}_{kind}_p99_ms": round(p99, 3)}
        bars[name] = float(cells[1])
        rows.append([*cells, ""])
    rows += [[f"{name}: processor", "", "", "", "", f"{cost:.0f} µs"] for name, cost in costs_us.items()]
    rows += [[f"{name}: memory", "", "", "", "", f"{size:.0f} MB"] for name, size in memory_mb.items()]
    rows.append([f"{OURS}: decisions replayed, all identical", "", "", "", "", str(replayed)])
    figures["decisions_replayed"] = replayed
    figures |= {f"{_key(name)}_cpu_us": round(cost, 1) for name, cost in costs_us.items()}
    figures |= {f"{_key(name)}_memory_mb": round(size, 1) for name, size in memory_mb.items()}
    columns = ("added over direct, ms", "whole p50", "whole p99", "first p50", "first p99", "cost")
    title = f"what a gateway adds, {rate:g} requests/s to each"
    return Report("gateway", title, columns, rows, figures, bars, "ms added to a whole answer, p50")


def _key(name: str) -> str:
    return name.lower().replace(",", "").replace(" ", "_").replace("-", "_")
