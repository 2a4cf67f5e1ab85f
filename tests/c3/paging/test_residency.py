"""Residency on simulated and real routes: budgets are kept, the optimum bounds everything, recency has its cliff."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vortex.c3.format.sizes import parse_bytes, spell_bytes
from vortex.c3.paging.belady import Belady
from vortex.c3.paging.dense_share import smallest_budget, spread_pinned
from vortex.c3.paging.expert_cache import ExpertCache, check_budget, token_cycle_bytes
from vortex.c3.paging.ghosts import BestOf
from vortex.c3.paging.retention import POLICIES, Retention
from vortex.errors import ConfigError

LAYERS, EXPERTS = 3, 8


def route(seed: int, tokens: int, top_k: int = 2, drift: float = 0.1) -> list[tuple[int, list[list[int]]]]:
    """A walk over layers; each layer's taste drifts."""
    rng = np.random.default_rng(seed)
    taste = rng.standard_normal((LAYERS, EXPERTS)) * 2
    steps = []
    for _ in range(tokens):
        taste += drift * rng.standard_normal(taste.shape)
        for layer in range(LAYERS):
            noisy = taste[layer] + rng.gumbel(size=EXPERTS)
            steps.append((layer, [[int(expert) for expert in np.argsort(noisy)[-top_k:]]]))
    return steps


def num_loads(policy: Retention, steps: list[tuple[int, list[list[int]]]], slots: int) -> int:
    cache = ExpertCache([10] * LAYERS, EXPERTS, 10 * slots, policy)
    return sum(len(cache.step(layer, experts).loads) for layer, experts in steps)


@pytest.mark.parametrize("name", list(POLICIES))
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 999), slots=st.integers(2, 24))
def test_budget_is_kept_and_what_is_told_is_what_is_held(name: str, seed: int, slots: int) -> None:
    cache = ExpertCache([7, 10, 10], EXPERTS, 10 * slots, POLICIES[name](LAYERS, EXPERTS))
    held: set[tuple[int, int]] = set()
    for layer, experts in route(seed, 12):
        step = cache.step(layer, experts)
        held -= set(step.evicted)
        assert not held & {(layer, expert) for expert in step.loads}
        held |= {(layer, expert) for expert in step.loads}
        assert {(layer, expert) for expert in experts[0]} <= held
        assert {tuple(map(int, cell)) for cell in np.argwhere(cache.resident)} == held
        assert cache.resident_bytes == sum((7, 10, 10)[each] for each, _ in held) <= 10 * slots


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 999), slots=st.integers(6, 20))
def test_nothing_beats_the_offline_optimum(seed: int, slots: int) -> None:
    steps = route(seed, 30)
    best = num_loads(Belady(LAYERS, EXPERTS, steps), steps, slots)
    for make in POLICIES.values():
        assert num_loads(make(LAYERS, EXPERTS), steps, slots) >= best


def test_a_cycle_longer_than_the_cache_defeats_lru_alone() -> None:
    steps = [(layer, [[0, 1]]) for _ in range(50) for layer in range(LAYERS)]
    assert num_loads(POLICIES["lru"](LAYERS, EXPERTS), steps, 4) == 2 * len(steps)
    assert num_loads(POLICIES["next-use"](LAYERS, EXPERTS), steps, 4) < 1.5 * len(steps)


def test_ghosts_leave_a_policy_that_loses() -> None:
    policies = {name: POLICIES[name](LAYERS, EXPERTS) for name in ("lru", "next-use")}
    best = BestOf([10] * LAYERS, EXPERTS, 40, policies)
    steps = [(layer, [[0, 1]]) for _ in range(400) for layer in range(LAYERS)]
    loads = num_loads(best, steps, 4)
    assert best.chosen == "next-use"
    assert loads < num_loads(POLICIES["lru"](LAYERS, EXPERTS), steps, 4)


def test_below_one_token_cycle_is_refused_with_the_number_that_works() -> None:
    assert token_cycle_bytes([10, 20], 4) == 120
    check_budget([10**9] * 2, 2, 5 * 10**9, trunk_bytes=10**9)
    with pytest.raises(ConfigError, match=r"smallest that works for this model is 5\.00 GB"):
        check_budget([10**9] * 2, 2, 4 * 10**9, trunk_bytes=10**9)


@given(sizes=st.lists(st.integers(1, 50), min_size=1, max_size=40), share=st.floats(0, 1.2))
def test_pinned_tiles_fit_and_are_spread(sizes: list[int], share: float) -> None:
    budget = int(share * sum(sizes))
    pinned = spread_pinned(sizes, budget)
    used = sum(sizes[index] for index in pinned)
    assert used <= budget
    left = [sizes[index] for index in range(len(sizes)) if index not in pinned]
    assert not left or used + min(left) > budget  # nothing more would fit
    assert smallest_budget(sizes, 3) == 3 * max(sizes)


@pytest.mark.parametrize("count", [0, 5, 16, 31])
def test_equal_tiles_are_pinned_evenly(count: int) -> None:
    pinned = sorted(spread_pinned([4] * 32, 4 * count))
    assert len(pinned) == count
    gaps = np.diff(pinned)
    assert not len(gaps) or gaps.max() - gaps.min() <= 1 + (count > 16)


def test_sizes() -> None:
    assert [parse_bytes(text) for text in ("2.2GB", "700 MiB", "12", "3.0GB/s")] == [2_200_000_000, 700 << 20, 12, 3e9]
    assert [spell_bytes(size) for size in (999, 2_200_000_001, 61_000_000_000)] == ["999 B", "2.21 GB", "61.0 GB"]
    for text in ("", "many", "-3GB", "3 XB"):
        with pytest.raises(ConfigError, match="write it like"):
            parse_bytes(text)
