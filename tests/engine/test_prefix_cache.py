"""Reused prompt beginnings: the same computation as a cold one, within the budget, nothing leaked."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from vortex.engine.prefix_cache import PrefixCache
from vortex.models.hash_model import HashModel, HashModelOptions
from vortex.types import Span

CHUNK = 4


def sweep_prompt(model, cache, prompt):
    """As the engine does: reuse, then whole chunks, offering each. Returns logits and the reused length."""
    state = cache.reuse(prompt) or model.new_state()
    reused = state.length
    while state.length < len(prompt):
        token_ids = prompt[state.length : (state.length // CHUNK + 1) * CHUNK]
        output = model.sweep([Span(state, token_ids)])
        state.commit(len(token_ids))
        cache.offer(prompt, state)
    state.close()
    return output.logits[0], reused


@settings(max_examples=100)
@given(
    st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=40), min_size=1, max_size=8), st.sampled_from([0, 2500])
)
def test_reuse_changes_no_bit_and_keeps_the_budget(prompts, budget_bytes):
    model = HashModel(HashModelOptions(remembers_cuts=True))
    cache = PrefixCache(chunk_tokens=CHUNK, budget_bytes=budget_bytes)
    nothing = PrefixCache(chunk_tokens=CHUNK, budget_bytes=0)
    for prompt in [*prompts, *prompts]:
        logits, reused = sweep_prompt(model, cache, prompt)
        cold, never = sweep_prompt(model, nothing, prompt)
        assert np.array_equal(logits, cold)
        assert never == 0
        assert reused % CHUNK == 0
        assert reused < len(prompt)
        assert cache.resident_bytes <= budget_bytes
        assert model.open_states == len(cache)
    cache.clear()
    assert (model.open_states, cache.resident_bytes) == (0, 0)


def test_the_next_turn_finds_the_whole_last_prompt_and_a_sibling_at_least_half():
    model = HashModel()
    cache = PrefixCache(chunk_tokens=CHUNK, budget_bytes=10**6)
    prompt = list(range(30))
    sweep_prompt(model, cache, prompt)
    assert sweep_prompt(model, cache, [*prompt, 1, 2, 3])[1] == 28
    assert sweep_prompt(model, cache, [*prompt[:26], 99, 99])[1] == 16
    assert sweep_prompt(model, cache, prompt)[1] == 28
    assert sweep_prompt(model, cache, prompt[:28])[1] == 24, "a token is left to sweep"
    assert sweep_prompt(model, cache, prompt[:16])[1] == 8
    assert sweep_prompt(model, cache, [77, *prompt])[1] == 0


def test_the_least_used_goes_first():
    model = HashModel()
    one_prompt_bytes = 8 * (64 + 4)
    cache = PrefixCache(chunk_tokens=8, budget_bytes=2 * one_prompt_bytes)
    prompts = [[first] * 9 for first in range(3)]

    def sweep(prompt):
        state = cache.reuse(prompt)
        reused = state is not None
        state = state or model.new_state()
        for token_ids in [] if reused else [prompt[:8]]:
            model.sweep([Span(state, token_ids)])
            state.commit(8)
            cache.offer(prompt, state)
        state.close()
        return reused

    assert [sweep(prompts[i]) for i in (0, 1, 0, 2, 0, 1)] == [False, False, True, False, True, False]
    assert cache.evictions == 2


def test_equal_keys_are_not_enough(monkeypatch):
    model = HashModel()
    cache = PrefixCache(chunk_tokens=CHUNK, budget_bytes=10**6)
    monkeypatch.setattr(
        PrefixCache,
        "_keys",
        lambda self, ids, adapter: [(stop, bytes([stop])) for stop in range(CHUNK, len(ids) + 1, CHUNK)],
    )
    sweep_prompt(model, cache, [1] * 9)
    assert cache.reuse([2] * 9) is None
    assert cache.reuse([1] * 9) is not None
