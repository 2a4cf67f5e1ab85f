"""Guesses, prices, what is learned, and drafters that misbehave."""

from __future__ import annotations

import itertools
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vortex.decode.drafting.acceptance import ALONE, Acceptance, SamplingKind, surroundings_of
from vortex.decode.drafting.bad import MARGIN, Guess, choose_blocks
from vortex.decode.drafting.block_decoding import BlockDecoding
from vortex.decode.drafting.counts import DraftCounts
from vortex.decode.drafting.drafter import AnswerSoFar, Proposal
from vortex.decode.drafting.suffix_drafter import HistoryDrafter, SuffixDrafter
from vortex.decode.logprobs import entropy_nats, rough_entropy_nats
from vortex.decode.sampler import SamplerState
from vortex.types import SamplingOptions

VOCAB = 100


def so_far(token_ids, **options) -> AnswerSoFar:
    return AnswerSoFar(token_ids, SamplerState(SamplingOptions(**options), seed=1))


class Offering:
    """An answer with a given guess."""

    def __init__(self, reach):
        self._guess = Guess(list(range(len(reach))), list(reach), [0] * len(reach))

    def guess(self, limit):
        return self._guess.cut(limit)


REACHES = st.lists(
    st.lists(st.floats(0.01, 1.0), max_size=4).map(lambda r: sorted(r, reverse=True)), min_size=1, max_size=3
)


@given(REACHES, st.floats(0.0, 1.0), st.integers(0, 4))
def test_what_is_bought_gives_the_most_tokens_a_second(reaches, row_share, limit):
    def rate(widths):
        tokens = len(reaches) + sum(sum(reach[:width]) for reach, width in zip(reaches, widths, strict=True))
        return tokens / (1 + row_share * sum(widths))

    bought = choose_blocks([Offering(r) for r in reaches], [limit] * len(reaches), lambda n: 1 + row_share * n)
    widths = [len(guess.token_ids) for guess in bought]
    best = max(rate(each) for each in itertools.product(*(range(min(len(r), limit) + 1) for r in reaches)))
    nothing = rate([0] * len(reaches))
    assert all(width <= limit for width in widths)
    if best > MARGIN * nothing * (1 + 1e-9):
        assert rate(widths) == pytest.approx(best)
    else:
        assert rate(widths) >= nothing


def test_without_evidence_nothing_is_drafted_and_no_price_is_asked():
    blocks = BlockDecoding([SuffixDrafter(), HistoryDrafter()], VOCAB)
    answer = blocks.begin(so_far(list(range(30))))
    assert blocks.choose_blocks([answer], [8], lambda n: pytest.fail("a price was asked"))[0].token_ids == []


def run(blocks, text, prompt=2, price=lambda n: 1 + 0.1 * n, **sampling):
    """Decode a text that is known; returns the number of sweeps."""
    answer, done, sweeps = blocks.begin(so_far(text[:prompt], **sampling)), prompt, 0
    while done < len(text):
        guess = blocks.choose_blocks([answer], [min(31, len(text) - done - 1)], price)[0]
        drafted = answer.board(guess)
        kept = 0
        while kept < len(drafted) and drafted[kept] == text[done + kept]:
            kept += 1
        sampled = text[done : done + kept + 1]
        guess_s = 1e-3 * (price(len(drafted)) / price(0) - 1) / len(drafted) if drafted else 0.0
        answer.settle(sampled, sweep_s=1e-3, plain_s=1e-3, guess_s=guess_s)
        done += len(sampled)
        sweeps += 1
    answer.close()
    return sweeps


def test_a_copied_passage_takes_few_sweeps_and_noise_costs_nothing():
    source = np.random.default_rng(1)
    passage = source.integers(0, VOCAB, 200).tolist()
    assert run(BlockDecoding([SuffixDrafter()], VOCAB), [*passage, *passage], prompt=200) < 40
    noise = source.integers(0, 3, 400).tolist()
    blocks = BlockDecoding([SuffixDrafter()], VOCAB)
    sweeps = run(blocks, noise, price=lambda n: 1 + 0.5 * n)
    paid = sweeps + 0.5 * blocks.counters()["num_draft_tokens"]
    assert paid < 1.05 * (len(noise) - 2)  # what plain decoding would have paid


def test_an_earlier_answer_is_remembered_and_the_memory_is_bounded():
    source = np.random.default_rng(2)
    text = source.integers(0, VOCAB, 300).tolist()
    history = HistoryDrafter(max_tokens=2000)
    blocks = BlockDecoding([history], VOCAB)
    assert run(blocks, text) == 298
    assert run(blocks, text) < 60
    for _ in range(20):
        run(blocks, source.integers(0, VOCAB, 300).tolist())
        assert sum(map(len, history.halves())) <= 2000
    assert run(blocks, text) > 200


def test_acceptance_is_learned_from_proposals_that_were_never_swept():
    acceptance = Acceptance([(0.5,)])
    entropy = surroundings_of(None, ALONE)
    answer = acceptance.of_answer(SamplingKind(False, False))
    for _ in range(40):
        answer.watch(0, Proposal([1, 2], [3, 3]), entropy)
        answer.judge([1, 5])
    fresh = acceptance.of_answer(SamplingKind(False, False))
    assert fresh.probability(0, 3, 0, entropy) > 0.8
    assert fresh.probability(0, 3, 1, entropy) < 0.2
    other = acceptance.of_answer(SamplingKind(True, False))
    assert other.probability(0, 3, 0, entropy) == 0.5


class Misbehaving:
    name = "misbehaving"
    is_dear = False

    def __init__(self, what):
        self.what = what

    def begin(self, answer):
        if self.what == "raises at once":
            raise RuntimeError("no")
        return self

    def extend(self, token_ids):
        if self.what == "raises on extend":
            raise ValueError("no")

    def propose(self, ahead, limit):
        match self.what:
            case "raises":
                raise KeyError("no")
            case "beyond the vocabulary":
                return Proposal([VOCAB], [3])
            case "negative":
                return Proposal([-1], [3])
            case "too long":
                return Proposal([1] * (limit + 1), [3] * (limit + 1))
            case "uneven":
                return Proposal([1, 2], [3])
            case "evidence":
                return Proposal([1], [99])
            case "slow":
                time.sleep(0.004)
                return Proposal([1], [3])
            case _:
                return Proposal([], [])

    def close(self):
        if self.what == "raises at the end":
            raise RuntimeError("no")


@pytest.mark.parametrize("what", ["raises at once", "raises on extend", "raises", "raises at the end"])
def test_a_drafter_that_raises_is_left_out_and_counted(what):
    blocks = BlockDecoding([Misbehaving(what), SuffixDrafter()], VOCAB)
    text = [5, 6, 7, 8] * 20
    sweeps = [run(blocks, text, prompt=8) for _ in range(6)]
    assert max(sweeps) < 30
    assert blocks.counters()["drafter_failures"] == 3


@pytest.mark.parametrize("what", ["beyond the vocabulary", "negative", "too long", "uneven", "evidence"])
def test_a_drafter_that_names_nonsense_is_left_out_and_counted(what):
    blocks = BlockDecoding([Misbehaving(what), SuffixDrafter()], VOCAB)
    for _ in range(6):
        assert run(blocks, [5, 6, 7, 8] * 20, prompt=8) < 30
    assert blocks.counters()["drafter_bad_ids"] == 3


def test_a_slow_drafter_rests():
    blocks = BlockDecoding([Misbehaving("slow")], VOCAB)
    started = time.perf_counter()
    run(blocks, np.random.default_rng(3).integers(0, VOCAB, 250).tolist())
    assert blocks.counters()["drafter_rests"] >= 1
    assert time.perf_counter() - started < 0.5  # and not 250 times 4 ms


def test_counts_have_the_conventional_names():
    counts = DraftCounts()
    for offered, stood in ((4, 2), (2, 2), (0, 0)):
        counts.add(offered, stood)
    assert counts.counters() == {
        "num_drafts": 2.0,
        "num_draft_tokens": 6.0,
        "num_accepted_draft_tokens": 4.0,
        "tokens_per_sweep": 7 / 3,
        "draft_acceptance_rate": 4 / 6,
        "mean_acceptance_length": 3.0,
        "acceptance_histogram_1": 2.0,
        "acceptance_histogram_2": 2.0,
    }


@pytest.mark.parametrize("vocab_size", [50, 4096, 5000, 49152])
def test_rough_entropy_is_never_far_above_the_true_one(vocab_size):
    for seed in range(5):
        row = (4 * np.random.default_rng(seed).standard_normal(vocab_size)).astype(np.float32)
        rough, true = rough_entropy_nats(row, 20), entropy_nats(row, 20)
        assert rough == pytest.approx(true, abs=0.35)
