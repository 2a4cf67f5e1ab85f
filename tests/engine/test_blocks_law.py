"""An independent look at the law: with guesses on board, seeds draw tokens with just the probabilities they should."""

from __future__ import annotations

import asyncio
import math
from collections import Counter

import pytest

from vortex.bench.probe_drafters import Liar, Oracle
from vortex.decode.sampling_reference import distribution
from vortex.engine.options import EngineOptions
from vortex.models.hash_model import HashModel, HashModelOptions
from vortex.types import SamplingOptions, Span

pytestmark = pytest.mark.long
NUM_SEEDS = 6000
PROMPT = (11, 12, 13)
MODEL = HashModelOptions(row_share=0.0)
OPTIONS = {"temperature": 1.0, "top_k": 4, "repetition_penalty": 1.2, "presence_penalty": 0.1}


def probabilities(tokens: tuple[int, ...]) -> dict[int, float]:
    """Of what follows, by the readable twin of the sampler."""
    model = HashModel(MODEL)
    state = model.new_state()
    logits = model.sweep([Span(state, [*PROMPT, *tokens])]).logits[0]
    return distribution(logits.tolist(), SamplingOptions(**OPTIONS), Counter((*PROMPT, *tokens)))


def exact() -> dict[tuple[int, ...], float]:
    """Probability of every first three tokens."""
    paths = {(): 1.0}
    for _ in range(3):
        paths = {
            (*path, token): before * share
            for path, before in paths.items()
            for token, share in probabilities(path).items()
        }
    return paths


async def test_the_first_three_tokens_have_the_probabilities_they_should_have(bench):
    expected = exact()
    likeliest = max(expected, key=expected.__getitem__)
    drafters = (Oracle([[*PROMPT, *likeliest]]), Liar())
    options = EngineOptions(max_slots=64, queue_limit=NUM_SEEDS, drafters=drafters, max_block=4)
    async with bench(MODEL, options) as one:

        async def ask(seed: int) -> tuple[int, ...]:
            sampling = SamplingOptions(**OPTIONS, seed=seed)
            answer = await one.ask(prompt=PROMPT, max_tokens=3, ignore_eos=True, sampling=sampling)
            return tuple(answer.token_ids())

        found = Counter(await asyncio.gather(*map(ask, range(NUM_SEEDS))))
        counters = await one.counters()
    assert 0 < counters["num_accepted_draft_tokens"] < counters["num_draft_tokens"]
    assert set(found) <= set(expected)
    chi_square, cells, rest_found, rest_expected = 0.0, 0, 0.0, 0.0
    for path, share in expected.items():
        count = NUM_SEEDS * share
        if count < 5:
            rest_found, rest_expected = rest_found + found[path], rest_expected + count
            continue
        chi_square += (found[path] - count) ** 2 / count
        cells += 1
    if rest_expected >= 5:
        chi_square += (rest_found - rest_expected) ** 2 / rest_expected
        cells += 1
    freedom = cells - 1
    deviation = (chi_square - freedom) / math.sqrt(2 * freedom)
    print(
        f"chi-square {chi_square:.1f} at {freedom} degrees of freedom over {NUM_SEEDS} seeds ({deviation:+.2f} sigma)"
    )
    assert abs(deviation) < 4


def test_the_probabilities_are_worth_testing():
    expected = exact()
    assert math.fsum(expected.values()) == pytest.approx(1.0)
    assert len(expected) == 64
    assert max(expected.values()) < 0.2
