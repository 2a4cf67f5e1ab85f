"""`vortex bench routes`: how many expert look-ups a cache of a given size answers, on routes of real runs.

Replays the shipped traces (`data/routes/`, captured on a phone, gpt-oss with top-2 and Qwen3 with top-6) through the
expert cache that pages real models. A look-up is an expert that a layer step needs, counted once; the prompt warms the
cache and the decoded tokens are counted. Check: LRU must reproduce the hit rates recorded with the traces.
"""

from __future__ import annotations

import gzip
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from itertools import groupby

from vortex.bench.measurement import CheckFailed
from vortex.bench.report import Report
from vortex.c3.paging.belady import Belady
from vortex.c3.paging.expert_cache import ExpertCache
from vortex.c3.paging.ghosts import BestOf
from vortex.c3.paging.retention import POLICIES, Retention, TokenExperts

NUM_EXPERTS = 128
TRACES = {
    "gpt-oss-120b (captured top-2)": "gptoss",
    "Qwen3-30B-A3B (captured top-6)": "qwen",
    "gemma-4-26B-A4B (top-6)": "gemma",
}
LRU_AT_3000_MIB = {"gptoss": 44.8, "qwen": 70.6, "gemma": 73.1}  # published with the traces, percent
MIB = 1 << 20
Step = tuple[int, TokenExperts]


@dataclass(frozen=True, slots=True)
class Trace:
    """steps: (layer, experts of each token). The first `prompt_steps` are the prompt."""

    expert_bytes: tuple[int, ...]
    dense_bytes: tuple[int, ...]
    steps: tuple[Step, ...]
    prompt_steps: int

    @property
    def top_k(self) -> int:
        return max(len(experts) for _, token_experts in self.steps for experts in token_experts)

    @property
    def cycle_bytes(self) -> int:
        """What one token uses."""
        return sum(self.expert_bytes) * self.top_k


def read_trace(name: str) -> Trace:
    """name: gptoss, qwen or gemma."""
    path = resources.files("vortex.bench") / "data" / "routes" / f"{name}.route.csv.gz"
    sizes: list[dict[str, int]] = []
    rows: list[tuple[int, ...]] = []
    for line in gzip.decompress(path.read_bytes()).decode().splitlines():
        if line.startswith("# layer="):
            sizes.append({key: int(value) for key, value in (field.split("=") for field in line[2:].split())})
        elif line[0].isdigit():
            fields = line.split(",")
            rows.append(tuple(int(fields[column]) for column in (1, 2, 3, 5)))  # phase, token, layer, expert
    steps, prompt_steps = [], 0
    for (phase, layer, _), group in groupby(rows, key=lambda row: (row[0], row[2], row[1] if row[0] else -1)):
        tokens = [tuple(row[3] for row in token) for _, token in groupby(group, key=lambda row: row[1])]
        steps.append((layer, tuple(tokens)))
        prompt_steps += phase == 0
    expert_bytes, dense_bytes = (tuple(size[key] for size in sizes) for key in ("expert_bytes", "dense_bytes"))
    return Trace(expert_bytes, dense_bytes, tuple(steps), prompt_steps)


def make_policy(name: str, trace: Trace, budget_bytes: int) -> Retention:
    """A policy of c3/paging/retention.py, `optimum` (knows the future) or `online` (ghost caches choose)."""
    num_layers = len(trace.expert_bytes)
    if name == "optimum":
        return Belady(num_layers, NUM_EXPERTS, trace.steps)
    if name == "online":
        policies = {each: make(num_layers, NUM_EXPERTS) for each, make in reversed(POLICIES.items())}
        return BestOf(trace.expert_bytes, NUM_EXPERTS, budget_bytes, policies)
    return POLICIES[name](num_layers, NUM_EXPERTS)


def hit_rate(trace: Trace, policy: str, budget_bytes: int) -> float:
    """Share of the decoded tokens' look-ups that were in memory."""
    cache = ExpertCache(trace.expert_bytes, NUM_EXPERTS, budget_bytes, make_policy(policy, trace, budget_bytes))
    hits = lookups = 0
    for index, (layer, token_experts) in enumerate(trace.steps):
        step = cache.step(layer, token_experts)
        if index >= trace.prompt_steps:
            hits += len(step.hits)
            lookups += len(step.hits) + len(step.loads)
    return hits / lookups


@dataclass(frozen=True, slots=True)
class RoutesMeasurement:
    budgets_mib: Sequence[int] = (3000,)
    policies: Sequence[str] = (*POLICIES, "online", "optimum")

    def check(self) -> None:
        for title, name in TRACES.items():
            rate = round(100 * hit_rate(read_trace(name), "lru", 3000 * MIB), 1)
            if abs(rate - LRU_AT_3000_MIB[name]) > 0.05:
                raise CheckFailed(f"{title}: LRU hits {rate}% at 3000 MiB, its recording says {LRU_AT_3000_MIB[name]}%")

    def measure(self) -> Report:
        started = time.perf_counter()
        rows: list[list[str]] = []
        figures: dict[str, object] = {}
        for title, name in TRACES.items():
            trace = read_trace(name)
            cycle_mib = round(trace.cycle_bytes / MIB)
            for budget_mib in self.budgets_mib:
                rates = {each: 100 * hit_rate(trace, each, budget_mib * MIB) for each in self.policies}
                rows.append([title, f"{budget_mib}", f"{cycle_mib}", *(f"{rate:.1f}" for rate in rates.values())])
                figures[f"{name}_{budget_mib}_mib_hit_percent"] = {each: round(rate, 2) for each, rate in rates.items()}
        figures["seconds"] = round(time.perf_counter() - started, 1)
        return Report(
            name="routes",
            title="Expert look-ups answered from memory, percent (replayed routes of real runs; see captured top-k)",
            columns=["model", "MiB", "token cycle MiB", *self.policies],
            rows=rows,
            figures=figures,
            bars={f"{row[0]} {policy}": float(rate) for row in rows for policy, rate in
                  zip(self.policies, row[3:], strict=True)},
            bars_unit="hits, percent",
        )  # fmt: skip
