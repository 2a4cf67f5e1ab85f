"""What a depth gate saves: bits per byte on held-out text and time per token, with the gate and without, in turns.

Both checkpoints are trained alike, on the same tokens. Time is wall clock: of a single row (decoding one sequence) and
of a sweep with a row of each of several sequences.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from vortex.bench.measurement import CheckFailed
from vortex.bench.report import Report
from vortex.models.opened import Opened
from vortex.types import Span, Want
from vortex.vblocks.model import CoreSequence, VortexCore

LESS_TIME, WORSE = 0.25, 0.01  # the bar: so much less time at most so much worse
STREAMS = 16
WINDOW = 256  # tokens that are predicted from an empty state


@dataclass(slots=True)
class _Side:
    name: str
    core: Opened[VortexCore]
    bits_per_byte: float = 0.0
    depth: float = 0.0  # mean share of the layers that a token takes
    seconds: dict[int, list[float]] = field(default_factory=dict)  # of a sweep, by its rows


@dataclass(frozen=True, slots=True)
class DepthMeasurement:
    """text: held out from both trainings."""

    plain: Opened[VortexCore]
    gated: Opened[VortexCore]
    text: str
    max_tokens: int = 8192
    rounds: int = 400
    progress: Callable[[str], None] = lambda line: None

    def check(self) -> None:
        if self.plain.model.config.depth_gating or not self.gated.model.config.depth_gating:
            raise CheckFailed("the first core must have no depth gate, and the second one")
        if self.plain.tokenizer.encode(self.text[:200]) != self.gated.tokenizer.encode(self.text[:200]):
            raise CheckFailed("the two cores have different tokenizers: their tokens do not take the same work")

    def measure(self) -> Report:
        sides = [_Side("all layers", self.plain), _Side("depth gate", self.gated)]
        ids = self.plain.tokenizer.encode(self.text)[: self.max_tokens]
        for side in sides:
            side.bits_per_byte = _bits_per_byte(side.core, ids)
            side.depth = mean_depth(side.core, ids[: 8 * WINDOW])
            self.progress(side.name)
        for streams in (1, STREAMS):
            riders = [(side, _streams(side.core, ids, streams)) for side in sides]
            for number in range(self.rounds):
                for side, states in riders:
                    taken = _one_sweep(side.core, states, ids, number)
                    if number >= self.rounds // 10:
                        side.seconds.setdefault(streams, []).append(taken)
        return self._report(sides, len(ids))

    def _report(self, sides: Sequence[_Side], num_tokens: int) -> Report:
        plain, gated = sides
        less = {
            streams: 1 - statistics.median(g / p for g, p in zip(gated.seconds[streams], times, strict=True))
            for streams, times in plain.seconds.items()
        }
        worse = gated.bits_per_byte / plain.bits_per_byte - 1
        milliseconds = {
            side.name: {n: 1e3 * statistics.fmean(times) / n for n, times in side.seconds.items()} for side in sides
        }
        mean_less = {n: 1 - milliseconds[gated.name][n] / ms for n, ms in milliseconds[plain.name].items()}
        return Report(
            name="core depth",
            title=f"A depth gate: {mean_less[1]:.1%} less time for a row, {mean_less[STREAMS]:.1%} for a row of "
            f"{STREAMS}, {worse:+.2%} bits per byte",
            columns=["core", "bits per byte", "layers taken", "ms per token, 1 row", f"{STREAMS} rows"],
            rows=[
                [
                    side.name,
                    f"{side.bits_per_byte:.4f}",
                    f"{side.depth:.0%}",
                    *(f"{ms:.3f}" for ms in milliseconds[side.name].values()),
                ]
                for side in sides
            ],
            figures={
                "bits_per_byte": {side.name: round(side.bits_per_byte, 5) for side in sides},
                "worse": round(worse, 5),
                "depth": {side.name: round(side.depth, 4) for side in sides},
                "ms_per_token": milliseconds,
                "less_time": {n: round(share, 4) for n, share in mean_less.items()},
                "less_time_median_pair": {n: round(share, 4) for n, share in less.items()},
                "tokens": num_tokens,
                "holds": min(mean_less.values()) >= LESS_TIME and worse <= WORSE,
            },
            bars={f"{side.name}, {n} rows": ms for side in sides for n, ms in milliseconds[side.name].items()},
            bars_unit="ms per token",
        )


def read_core_pair(plain: Path, gated: Path) -> tuple[Opened[VortexCore], Opened[VortexCore]]:
    """Raises ModelNotFound, ModelFileError, ConfigError."""
    from vortex.models.cores import open_core
    from vortex.models.opened import LoadOptions

    options = LoadOptions(packed_root=plain)  # resident: nothing is packed there
    return open_core(plain, options), open_core(gated, options)


def _bits_per_byte(core: Opened[VortexCore], ids: Sequence[int]) -> float:
    """Over windows that each begin with an empty state; the first token of a window is given."""
    nats, num_bytes = 0.0, 0
    for start in range(0, len(ids) - 1, WINDOW):
        window = list(ids[start : start + WINDOW + 1])
        if len(window) < 2:
            break
        state = core.model.new_state()
        logits = core.model.sweep([Span(state, window[:-1], Want.ALL_LOGITS)]).logits.astype(np.float64)
        largest = logits.max(axis=1, keepdims=True)
        log_sum = np.log(np.exp(logits - largest).sum(axis=1)) + largest[:, 0]
        nats += float((log_sum - logits[np.arange(len(logits)), window[1:]]).sum())
        num_bytes += len(core.tokenizer.decode(window[1:]).encode())
        state.close()
    return nats / math.log(2) / num_bytes


def mean_depth(core: Opened[VortexCore], ids: Sequence[int]) -> float:
    """The share of its layers that a token takes, over windows as above."""
    taken = rows = 0
    for start in range(0, len(ids), WINDOW):
        state = core.model.new_state()
        core.model.sweep([Span(state, ids[start : start + WINDOW], Want.NOTHING)])
        taken += state.layers_taken
        rows += len(ids[start : start + WINDOW])
    return taken / rows / core.model.config.num_layers


def _streams(core: Opened[VortexCore], ids: Sequence[int], count: int) -> list[CoreSequence]:
    """Sequences that each have read another piece of the text."""
    states = []
    for number in range(count):
        state = core.model.new_state()
        start = number * len(ids) // (count + 1)
        core.model.sweep([Span(state, ids[start : start + 64], Want.NOTHING)])
        state.commit(len(ids[start : start + 64]))
        states.append(state)
    return states


def _one_sweep(core: Opened[VortexCore], states: Sequence[CoreSequence], ids: Sequence[int], number: int) -> float:
    """The text goes on in every sequence, since what a gate does depends on what it reads."""
    count = len(states)
    spans = [
        Span(state, [ids[(index * len(ids) // (count + 1) + 64 + number) % len(ids)]])
        for index, state in enumerate(states)
    ]
    started = time.perf_counter()
    core.model.sweep(spans)
    seconds = time.perf_counter() - started
    for state in states:
        state.commit(1)
    return seconds
