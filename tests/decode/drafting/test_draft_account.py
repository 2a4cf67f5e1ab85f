"""What drafting may cost an answer at most, whatever is promised."""

from __future__ import annotations

import math

import numpy as np
import pytest

from vortex.bench.probe_drafters import Liar
from vortex.decode.drafting import account as draft_account
from vortex.decode.drafting.account import CREDIT, FIRST_PAUSE_TOKENS, WAKING_CREDIT, DraftAccount
from vortex.decode.drafting.block_decoding import BlockDecoding
from vortex.decode.drafting.drafter import AnswerSoFar
from vortex.decode.sampler import SamplerState
from vortex.types import SamplingOptions

BLOCK_SWEEPS = 0.4  # what a wrong block takes


def lost_sweeps(num_tokens: int, wakes_early: bool) -> float:
    """By an answer in which every guess is wrong and every sweep that may have one has one."""
    account, lost, is_looking = DraftAccount(), 0.0, False
    for _ in range(num_tokens):
        if account.is_paused and is_looking and wakes_early:
            account.wake()
        if account.is_paused:
            is_looking = account.sit_out(1)
        else:
            lost += BLOCK_SWEEPS
            is_looking = False
            account.settle(0, BLOCK_SWEEPS)
    return lost


@pytest.mark.parametrize("num_tokens", [64, 256, 2048])
def test_an_answer_that_is_never_guessed_right_loses_little(num_tokens):
    stretches = math.log2(num_tokens / FIRST_PAUSE_TOKENS)
    bound = CREDIT + BLOCK_SWEEPS + stretches * (WAKING_CREDIT + BLOCK_SWEEPS)
    assert 0 < lost_sweeps(num_tokens, wakes_early=False) <= bound
    assert lost_sweeps(num_tokens, wakes_early=True) <= 2 * bound


def test_an_answer_that_is_guessed_right_never_pauses_and_earns_its_pauses_back():
    account = DraftAccount()
    for place in range(300):
        account.settle(3 if place % 5 == 0 else 0, 0.3)
        assert not account.is_paused
    while not account.settle(0, 0.3):
        pass
    first = account._paused_tokens
    assert not any(account.sit_out(1) for _ in range(draft_account.LEAST_TOKENS_BETWEEN_LOOKS - 1))
    account.wake()
    account.settle(8, 0.5)
    while not account.settle(0, 0.3):
        pass
    assert account._paused_tokens == first


def test_tokens_of_a_pause_are_told_later_and_copying_wakes():
    source = np.random.default_rng(5)
    told: list[int] = []

    class Listening(Liar):
        def extend(self, token_ids):
            told.extend(token_ids)

    class Slow(Listening):
        def propose(self, ahead, limit):
            return None

    blocks = BlockDecoding([Slow()], 100)
    answer = blocks.begin(AnswerSoFar([1, 2], SamplerState(SamplingOptions(), seed=1)))
    text = source.integers(0, 100, 200).tolist()
    for token_id in text:
        answer.guess(8)
        answer.spent_s += 1e-3  # looking up is dear here
        answer.settle([token_id], sweep_s=1e-3, plain_s=1e-3)
    assert blocks.counters()["draft_pauses"] >= 2
    answer.close()
    assert told == text
