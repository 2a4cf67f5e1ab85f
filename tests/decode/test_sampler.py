"""The state of a sampler: window, constraint, minimum length, copies."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vortex.decode.constraint import allowed_tokens
from vortex.decode.sampler import PenaltyWindow, SamplerState
from vortex.types import SamplingOptions


class Alternating:
    """Even ids, then odd ids, and so on, `length` times: a small real constraint."""

    def __init__(self, length: int, packed: bool, seen: tuple[int, ...] = ()) -> None:
        self.length, self.packed, self.seen = length, packed, seen

    def mask(self):
        mask = np.arange(70) % 2 == len(self.seen) % 2
        return pack(mask) if self.packed else mask

    def settle(self, token_id):
        return token_id

    def advance(self, token_id):
        self.seen = (*self.seen, token_id)

    @property
    def is_finished(self):
        return len(self.seen) == self.length

    def copy(self):
        return Alternating(self.length, self.packed, self.seen)


def pack(mask: np.ndarray) -> np.ndarray:
    padded = np.zeros(-(-len(mask) // 32) * 32, dtype=bool)
    padded[: len(mask)] = mask
    return np.packbits(padded, bitorder="little").view(np.int32)


def rows(seed: int, count: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((count, 70)).astype(np.float32)


@given(st.lists(st.integers(0, 5)), st.integers(0, 6), st.lists(st.integers(0, 5)))
def test_the_window_counts_exactly_the_last_tokens(prompt, size, pushed):
    window = PenaltyWindow(size, prompt)
    twin = None
    for index, token in enumerate(pushed):
        if index == 2:
            twin = window.copy()
        window.push(token)
    for checked, tokens in ((window, prompt + pushed), (twin, prompt + pushed[:2])):
        if checked is not None:
            ids, counts = checked.counted()
            expected = Counter(tokens[-size:] if size else tokens)
            assert dict(zip(ids.tolist(), counts.tolist(), strict=True)) == expected


def test_penalties_reach_back_to_the_prompt_and_forget_beyond_the_window():
    row = np.zeros(70, dtype=np.float32)
    state = SamplerState(SamplingOptions(presence_penalty=1.0, penalty_window=2), seed=0, prompt_ids=[9, 0, 1])
    chosen = []
    for _ in range(4):
        chosen.append(state.choose(row))
        state.advance(chosen[-1])
    assert chosen == [2, 0, 1, 2]


def test_penalties_may_look_at_the_answer_alone():
    row = np.array([3.0, 2.0, 1.0], dtype=np.float32)
    options = SamplingOptions(presence_penalty=1.5, penalty_reads_prompt=False)
    state = SamplerState(options, seed=0, prompt_ids=[0, 0, 0])
    chosen = []
    for _ in range(2):
        chosen.append(state.choose(row))
        state.advance(chosen[-1])
    assert chosen == [0, 1]
    assert SamplerState(SamplingOptions(presence_penalty=1.5), seed=0, prompt_ids=[0]).choose(row) == 1


def test_a_copy_goes_its_own_way():
    options = SamplingOptions(temperature=1.0, repetition_penalty=1.3)
    logits = rows(1, 6)
    state = SamplerState(options, seed=4, prompt_ids=[1, 2, 3], constraint=Alternating(99, packed=False))
    straight = []
    path = state.copy()
    for row in logits:
        straight.append(path.choose(row))
        path.advance(straight[-1])
    path = state.copy()
    path.advance(0)  # a drafted token that will be dropped
    again = []
    for row in logits:
        assert state.choose(row) == state.choose(row)
        again.append(state.choose(row))
        state.advance(again[-1])
    assert again == straight


@pytest.mark.parametrize("packed", [False, True])
def test_a_constraint_masks_and_ends(packed):
    state = SamplerState(SamplingOptions(temperature=2.0), seed=1, constraint=Alternating(4, packed))
    chosen = []
    for row in rows(2, 4):
        assert not state.is_finished
        chosen.append(state.choose(row))
        state.advance(chosen[-1])
    assert [token % 2 for token in chosen] == [0, 1, 0, 1]
    assert state.is_finished


def test_packed_masks_shorter_than_the_vocabulary_forbid_the_rest():
    mask = np.array([0b101, -1], dtype=np.int32)
    assert np.flatnonzero(allowed_tokens(mask, 70)).tolist() == [0, 2, *range(32, 64)]
    assert allowed_tokens(mask, 3).tolist() == [True, False, True]
    assert allowed_tokens(np.array([True]), 3).tolist() == [True, False, False]


def test_no_end_before_the_minimum():
    row = np.zeros(70, dtype=np.float32)
    row[5] = 9
    state = SamplerState(SamplingOptions(), seed=0, min_tokens=2, end_ids=frozenset({5}))
    chosen = []
    for _ in range(3):
        chosen.append(state.choose(row))
        state.advance(chosen[-1])
    assert chosen == [0, 0, 5]
