"""`vortex bench c3`: seconds per sweep under a memory limit, against the physical bound, beside llama.cpp's mmap.

For every limit, two processes, each in a control group of that size (page cache included): ours with a budget a little
below the limit, the peer with mmap. Sweeps alternate between them, and so do measurements of what the disk and memory
give: before and after every group of sweeps, since a disk that others use changes by the minute, by a process outside
the limit, and of the bytes that sweeps stream, since others may be cold on the disk's side. bound = max(missing bytes /
disk, all bytes / memory); the share of it is taken round by round.
Check: the logits of every budget are the same bits.
"""

from __future__ import annotations

import contextlib
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from vortex.bench.measurement import CheckFailed
from vortex.bench.memory.limit import drop_page_cache, memory_limit
from vortex.bench.peer import Peer
from vortex.bench.report import Report
from vortex.c3.format.sizes import spell_bytes

CONTEXT_TOKENS = 256
PROCESS_BYTES = 200 * 10**6  # of the limit, kept for the process around the weights
BLOCK_ROWS = 8


@dataclass(slots=True)
class LimitResult:
    """Seconds per sweep of one limit, all runs. bounds: seconds, one per run."""

    limit_bytes: int
    loaded: dict[str, object]
    one_row_s: list[float] = field(default_factory=list)
    block_s: list[float] = field(default_factory=list)
    peer_s: list[float] = field(default_factory=list)
    peer_read_bytes: list[float] = field(default_factory=list)  # per token
    bound_s: list[float] = field(default_factory=list)
    shares: list[float] = field(default_factory=list)
    disk_rate: list[float] = field(default_factory=list)
    counters: dict[str, float] = field(default_factory=dict)
    peak_bytes: int = 0


@dataclass(slots=True)
class PagingMeasurement:
    """limits_bytes: of the whole process. peer: what starts llama.cpp's worker, or None."""

    model_file: Path
    packed_root: Path
    limits_bytes: Sequence[int]
    runs: int = 3
    threads: int = 2
    peer_python: str | None = None
    _digest: str | None = None

    def check(self) -> None:
        """The smallest and the largest limit must give the same logits, bit for bit."""
        for limit_bytes in (min(self.limits_bytes), max(self.limits_bytes)):
            with Peer("vortex", sys.executable) as ours:
                self._same_bits(self._load(ours, limit_bytes))

    def measure(self) -> Report:
        return self._report([self._measure_limit(limit_bytes) for limit_bytes in self.limits_bytes])

    def _load(self, ours: Peer, limit_bytes: int) -> dict[str, object]:
        return ours.ask(
            "load",
            file=str(self.model_file),
            packed=str(self.packed_root),
            budget_bytes=limit_bytes - PROCESS_BYTES,
            context=CONTEXT_TOKENS,
            threads=self.threads,
        )

    def _same_bits(self, loaded: dict[str, object]) -> None:
        digest = str(loaded["digest"])
        if self._digest not in {None, digest}:
            raise CheckFailed(f"two budgets give different logits: {self._digest} and {digest}")
        self._digest = digest

    def _measure_limit(self, limit_bytes: int) -> LimitResult:
        drop_page_cache()
        with contextlib.ExitStack() as stack:
            our_limit = stack.enter_context(memory_limit(limit_bytes))
            ours = stack.enter_context(Peer("vortex", sys.executable))
            our_limit.add(ours.process_id)
            result = LimitResult(limit_bytes, self._load(ours, limit_bytes))
            self._same_bits(result.loaded)
            disk = stack.enter_context(Peer("vortex", sys.executable))  # outside the limit
            packed = str(self.packed_root)
            disk.ask("open_disk", file=str(self.model_file), packed=packed, streamed=result.loaded["streamed"])
            peer = self._start_peer(stack, limit_bytes)
            for _ in range(self.runs):
                self._one_round(result, ours, disk, peer)
            result.counters = ours.ask("counters")
            result.peak_bytes = our_limit.peak_bytes()
        return result

    def _start_peer(self, stack: contextlib.ExitStack, limit_bytes: int) -> Peer | None:
        if self.peer_python is None:
            return None
        limit = stack.enter_context(memory_limit(limit_bytes))
        peer = stack.enter_context(Peer("llama.cpp", self.peer_python))
        limit.add(peer.process_id)
        # Repacking would copy all weights into memory of its own: the limit would end it before its first token.
        peer.ask("load", file=str(self.model_file), context=CONTEXT_TOKENS, threads=self.threads, repack=False)
        peer.ask("time", prompt=[5], new_tokens=1)
        return peer

    def _one_round(self, result: LimitResult, ours: Peer, disk_worker: Peer, peer: Peer | None) -> None:
        missing, total = (float(str(result.loaded[key])) for key in ("fetch_bytes", "weight_bytes"))
        before = disk_worker.ask("rates")
        sweeps = ours.ask("time", rows=1, sweeps=2)["sweep_s"]
        after = disk_worker.ask("rates")
        disk, memory = (statistics.harmonic_mean([before[key], after[key]]) for key in ("disk", "memory"))
        bound = max(missing / disk, total / memory)
        result.bound_s.append(bound)
        result.disk_rate.append(disk)
        result.one_row_s += sweeps
        result.shares.append(bound / statistics.mean(sweeps))
        result.block_s += ours.ask("time", rows=BLOCK_ROWS, sweeps=2)["sweep_s"]
        if peer is not None:
            answer = peer.ask("time", prompt=[5], new_tokens=2)
            result.peer_s.append(answer["decode_s"] / 2)
            result.peer_read_bytes.append(answer["decode_read_bytes"] / 2)

    def _report(self, results: Sequence[LimitResult]) -> Report:
        rows: list[list[str]] = []
        figures: dict[str, object] = {}
        bars: dict[str, float] = {}
        for result in results:
            ours, block = statistics.median(result.one_row_s), statistics.median(result.block_s)
            bound, disk_rate = statistics.median(result.bound_s), statistics.median(result.disk_rate)
            peer = statistics.median(result.peer_s) if result.peer_s else None
            limit = spell_bytes(result.limit_bytes)
            resident, missing = (int(str(result.loaded[key])) for key in ("resident_bytes", "fetch_bytes"))
            rows.append(
                [
                    *(
                        limit,
                        spell_bytes(resident),
                        spell_bytes(missing),
                        f"{disk_rate / 1e9:.2f}",
                    ),
                    *(f"{bound:.3f}", f"{ours:.3f}", f"{100 * statistics.median(result.shares):.0f}%", f"{block:.3f}"),
                    *((f"{peer:.3f}", f"{peer / ours:.2f}x") if peer else ("-", "-")),
                    spell_bytes(result.peak_bytes),
                ]
            )
            figures[limit] = {
                "seconds_per_sweep": ours, "seconds_per_sweep_8_rows": block, "bound_s": bound,
                "share_of_bound": statistics.median(result.shares), "shares": result.shares,
                "peer_seconds_per_token": peer, "peer_ratio": peer / ours if peer else None,
                "peer_read_bytes_per_token": statistics.median(result.peer_read_bytes) if peer else None,
                "resident_bytes": resident, "missing_bytes": missing,
                "limit_peak_bytes": result.peak_bytes, "counters": result.counters,
            }  # fmt: skip
            bars |= {f"{limit}: bound": bound, f"{limit}: vortex": ours}
            bars |= {f"{limit}: llama.cpp mmap": peer} if peer else {}
        return Report(
            name="c3",
            title=f"{self.model_file.stem}: seconds per sweep by memory limit",
            columns=["limit", "resident", "missing", "disk GB/s", "bound s", "1 row s", "of bound", "8 rows s",
                     "llama.cpp s", "ratio", "peak"],
            rows=rows,
            figures={"limits": figures},
            bars=bars,
            bars_unit="seconds per sweep",
        )  # fmt: skip
