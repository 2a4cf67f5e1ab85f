"""`vortex bench adapters`: what an adapter costs, against the same sweep without one.

The same sequences are swept over and over (nothing is committed, so that every sweep does the same work), in turns:
without adapters, with one for all, with a different one each. What counts is the median time of each kind, over that
of the plain sweep. The adapters are random: their numbers do not matter to the time.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from vortex.adapters.reading import adapter_hash
from vortex.bench.measurement import CheckFailed
from vortex.bench.report import Report
from vortex.protocols import LanguageModel
from vortex.types import Adapter, LowRank, Span, Want

TYPES: Mapping[str, type[np.generic]] = {"float32": np.float32, "bfloat16": np.uint16, "float16": np.float16}
CHECK_TOKENS = 8
Carried = Sequence[Adapter | None]


@dataclass(frozen=True, slots=True)
class Case:
    """Sequences of so many new tokens each in one sweep, behind `context` old ones."""

    name: str
    sequences: int
    new_tokens: int
    context: int


@dataclass(frozen=True, slots=True)
class AdaptersMeasurement:
    """shapes: of the layers that adapters change (TakesAdapters). many: different adapters in one sweep."""

    model: LanguageModel
    model_name: str
    shapes: Mapping[str, tuple[int, int]]
    prompt: Sequence[int]
    rank: int = 16
    many: int = 8
    kind: str = "bfloat16"
    rounds: int = 40

    def check(self) -> None:
        """A sequence with an adapter gives the same bits alone and beside others, and other ones than without it."""
        adapters: Carried = [None, *(self._adapter(seed) for seed in range(2))]
        alone = [self._logits([adapter])[0] for adapter in adapters]
        together = self._logits(adapters)
        if not np.array_equal(together, np.stack(alone)):
            raise CheckFailed(f"{self.model_name}: a sequence's logits depend on its neighbours' adapters")
        if np.array_equal(alone[0], alone[1]) or np.array_equal(alone[1], alone[2]):
            raise CheckFailed(f"{self.model_name}: an adapter changes nothing")

    def measure(self) -> Report:
        adapters = [self._adapter(seed) for seed in range(self.many)]
        half = len(self.prompt) // 2
        cases = [
            Case("decode, one sequence", 1, 1, half),
            Case(f"decode, {self.many} sequences", self.many, 1, half),
            Case(f"prefill, {self.model.prefill_chunk} tokens", 1, self.model.prefill_chunk, 0),
            Case(f"prefill, {self.many} x 32 tokens", self.many, 32, 0),
        ]
        rows: list[list[str]] = []
        bars: dict[str, float] = {}
        figures: dict[str, object] = {}
        for case in cases:
            kinds: dict[str, Carried] = {"none": [None] * case.sequences, "one": [adapters[0]] * case.sequences}
            if case.sequences > 1:
                kinds["different"] = adapters[: case.sequences]
            times_ms = self._timed(case, kinds)
            ratios = {kind: times_ms[kind] / times_ms["none"] for kind in kinds if kind != "none"}
            cells = [f"{ratios[kind]:.3f}" if kind in ratios else "" for kind in ("one", "different")]
            rows.append([case.name, f"{times_ms['none']:.2f}", *cells])
            key = case.name.replace(", ", "_").replace(" ", "_")
            figures[key] = {"none_ms": round(times_ms["none"], 3), **{k: round(v, 4) for k, v in ratios.items()}}
            bars |= {f"{case.name}: {kind}": ratio for kind, ratio in ratios.items()}
        about = {
            "model": self.model_name,
            "rank": self.rank,
            "type": self.kind,
            "adapter_bytes": adapters[0].num_bytes,
            "rounds": self.rounds,
        }
        title = f"{self.model_name}: sweeps with adapters of rank {self.rank} ({self.kind}), times the plain sweep"
        columns = [f"median of {self.rounds}", "none, ms", "one for all", f"{self.many} different"]
        return Report("adapters", title, columns, rows, {**about, **figures}, bars, "times the plain sweep")

    def _timed(self, case: Case, kinds: Mapping[str, Carried]) -> dict[str, float]:
        """Milliseconds of a sweep, the kinds in turns; the first round warms up."""
        times: dict[str, list[float]] = {kind: [] for kind in kinds}
        states = {kind: [self.model.new_state() for _ in carried] for kind, carried in kinds.items()}
        for kind, carried in kinds.items():
            for state, adapter in zip(states[kind], carried, strict=True):
                if case.context:
                    self.model.sweep([Span(state, self.prompt[: case.context], Want.NOTHING, adapter)])
                    state.commit(case.context)
        want = Want.LAST_LOGITS if case.new_tokens == 1 else Want.NOTHING
        token_ids = self.prompt[case.context : case.context + case.new_tokens]
        for _ in range(self.rounds + 1):
            for kind, carried in kinds.items():
                pairs = zip(states[kind], carried, strict=True)
                spans = [Span(state, token_ids, want, adapter) for state, adapter in pairs]
                started = time.perf_counter()
                self.model.sweep(spans)
                times[kind].append(1e3 * (time.perf_counter() - started))
                for state in states[kind]:
                    state.commit(0)
        for state in (state for group in states.values() for state in group):
            state.close()
        return {kind: float(statistics.median(each[1:])) for kind, each in times.items()}

    def _logits(self, carried: Carried) -> np.ndarray:
        states = [self.model.new_state() for _ in carried]
        pairs = zip(states, carried, strict=True)
        spans = [Span(state, self.prompt[:CHECK_TOKENS], Want.LAST_LOGITS, adapter) for state, adapter in pairs]
        logits = self.model.sweep(spans).logits
        for state in states:
            state.close()
        return logits

    def _adapter(self, seed: int) -> Adapter:
        rng = np.random.default_rng(seed)

        def drawn(rows: int, columns: int) -> np.ndarray:
            values = (0.02 * rng.standard_normal((rows, columns))).astype(np.float32)
            if self.kind == "bfloat16":
                return (values.view(np.uint32) >> 16).astype(np.uint16)
            return values.astype(TYPES[self.kind])

        parts = {
            name: LowRank(drawn(self.rank, columns), drawn(rows, self.rank), 2.0)
            for name, (rows, columns) in self.shapes.items()
        }
        return Adapter(adapter_hash(parts), parts)
