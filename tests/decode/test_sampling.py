"""The fast sampling pipeline against its readable twin, and the noise against exact probabilities."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from vortex.decode import noise
from vortex.decode.logprobs import chosen_and_top, entropy_nats
from vortex.decode.sampling import choose_token, keep_candidates
from vortex.decode.sampling_reference import (
    adjusted,
    candidates,
    choose_token_reference,
    distribution,
    gumbel_reference,
)
from vortex.errors import BackendError
from vortex.types import SamplingOptions

OPTIONS = st.builds(
    SamplingOptions,
    temperature=st.sampled_from([0.0, 1e-300, 0.1, 0.8, 1.0, 5.0]),
    top_k=st.sampled_from([0, 1, 2, 5, 1000]),
    top_p=st.sampled_from([1.0, 0.95, 0.5, 0.1, 1e-6]),
    top_p_min_k=st.sampled_from([1, 3, 1000]),
    top_p_max_k=st.sampled_from([0, 1, 4]),
    min_p=st.sampled_from([0.0, 0.05, 0.5, 1.0]),
    repetition_penalty=st.sampled_from([1.0, 1.1, 0.5]),
    presence_penalty=st.sampled_from([0.0, 0.7, -0.3]),
    frequency_penalty=st.sampled_from([0.0, 0.2]),
    logit_bias=st.dictionaries(st.integers(0, 2), st.sampled_from([-100.0, -1.5, 0.5, 100.0])),
)
LOGITS = st.lists(
    st.one_of(st.sampled_from([0.0, 1.0, -1.0, -math.inf]), st.floats(-30, 30, width=32)), min_size=3, max_size=40
)


def near_the_edge_of_the_nucleus(scores: list[float], options: SamplingOptions) -> bool:
    """Rounding may decide there, and the twins add in different orders."""
    if options.temperature == 0 or options.top_p >= 1:
        return False
    log_weights, ranking = candidates(scores, SamplingOptions(temperature=options.temperature, top_k=options.top_k))
    weights = np.exp([log_weights[token] for token in ranking])
    return bool(np.any(np.abs(np.cumsum(weights) / weights.sum() - options.top_p) < 1e-9))


@settings(max_examples=250)
@given(LOGITS, OPTIONS, st.dictionaries(st.integers(0, 2), st.integers(1, 5)), st.data(), st.integers(0, 2**70))
def test_the_fast_pipeline_chooses_what_the_reference_chooses(logits, options, seen, data, seed):
    row = np.array(logits, dtype=np.float32)
    allowed = data.draw(st.none() | st.sets(st.integers(0, len(logits) - 1), min_size=1))
    scores = adjusted(row.tolist(), options, seen, allowed)
    assume(math.isfinite(max(scores)))
    assume(not near_the_edge_of_the_nucleus(scores, options))
    mask = None if allowed is None else np.isin(np.arange(len(row)), list(allowed))
    if forbidden := data.draw(st.sets(st.integers(0, len(logits) - 1), max_size=3)):
        allowed = (set(range(len(logits))) if allowed is None else allowed) - forbidden
        assume(math.isfinite(max(adjusted(row.tolist(), options, seen, allowed))))
        assume(not near_the_edge_of_the_nucleus(adjusted(row.tolist(), options, seen, allowed), options))
    chosen = choose_token(
        row,
        options,
        seen_ids=np.array(list(seen), dtype=np.int64),
        seen_counts=np.array(list(seen.values()), dtype=np.float64),
        allowed=mask,
        key=noise.noise_key(seed, 1, 7),
        forbidden=np.array(sorted(forbidden), dtype=np.int64),
    )
    assert chosen == choose_token_reference(row.tolist(), options, seen, allowed, (seed, 1, 7))


@pytest.mark.parametrize("spread", [0.0, 1.0, 4.0, 12.0])
@pytest.mark.parametrize("top_p", [0.3, 0.9, 0.99])
@pytest.mark.parametrize("limits", [{}, {"top_p_min_k": 700}, {"top_k": 300, "min_p": 0.001}])
def test_a_large_vocabulary_keeps_the_candidates_of_the_reference(spread, top_p, limits):
    row = (np.random.default_rng(int(spread)).standard_normal(3000) * spread).astype(np.float32)
    options = SamplingOptions(temperature=0.9, top_p=top_p, **limits)
    _, expected = candidates(row.tolist(), options)
    ids, log_weights = keep_candidates(row, float(row.max()), options)
    assert sorted(ids.tolist()) == sorted(expected)
    assert log_weights.max() == 0.0


@settings(max_examples=40)
@given(
    st.integers(0, 2**32), st.sampled_from([0.0, 0.3, 3.0, 12.0]), st.sampled_from([0.0, 4.0, 30.0]), st.integers(0, 5)
)
@example(0, 0.0, 0.0, 0)
def test_pruned_noise_never_changes_the_winner(seed, spread, lead, shape):
    random = np.random.default_rng(seed)
    log_weights = random.standard_normal(5000) * spread
    log_weights[random.integers(0, 5000, shape)] += lead
    log_weights[random.integers(0, 5000, shape * 100)] = -np.inf
    log_weights -= log_weights.max()
    ids = np.arange(5000)
    key = noise.noise_key(seed, 0, 0)
    scores = log_weights + noise.gumbel(noise.random_bits(ids, key))
    assert noise.gumbel_argmax(ids, log_weights, key) == int(scores.argmax())


@given(st.integers(-(2**70), 2**70), st.integers(0, 9), st.integers(0, 10**6), st.lists(st.integers(0, 300_000)))
def test_noise_belongs_to_the_token_id_whatever_surrounds_it(seed, choice, index, ids):
    key = noise.noise_key(seed, choice, index)
    together = noise.gumbel(noise.random_bits(np.array(ids, dtype=np.int64), key))
    alone = [float(noise.gumbel(noise.random_bits(np.array([i]), key))[0]) for i in ids]
    assert together.tolist() == alone
    assert together == pytest.approx([gumbel_reference((seed, choice, index), i) for i in ids], rel=1e-13, abs=1e-13)


def test_extreme_bits_give_finite_noise():
    assert np.isfinite(noise.gumbel(np.array([0, 2**64 - 1], dtype=np.uint64))).all()


@pytest.mark.parametrize(
    "options",
    [
        SamplingOptions(temperature=1.0),
        SamplingOptions(temperature=0.7, top_p=0.9),
        SamplingOptions(temperature=1.3, top_k=6, repetition_penalty=1.2, presence_penalty=0.4, logit_bias={3: 1.0}),
        SamplingOptions(temperature=1.0, min_p=0.05, top_p=0.2, top_p_min_k=4),
    ],
)
def test_frequencies_over_seeds_match_the_exact_probabilities(options):
    row = np.random.default_rng(5).standard_normal(24).astype(np.float32) * 2
    seen = {0: 1, 3: 2, 9: 1}
    exact = distribution(row.tolist(), options, seen)
    draws = 6_000
    counts = Counter(
        choose_token(
            row,
            options,
            seen_ids=np.array(list(seen)),
            seen_counts=np.array(list(seen.values()), dtype=np.float64),
            allowed=None,
            key=noise.noise_key(seed, seed % 3, seed % 50),
        )
        for seed in range(draws)
    )
    assert set(counts) <= set(exact)
    statistic = sum((counts[token] - draws * p) ** 2 / (draws * p) for token, p in exact.items())
    freedom = len(exact) - 1
    # Wilson-Hilferty: the cube root of chi-square per degree is nearly normal; 4 sigma is 3 in 100,000.
    spread = math.sqrt(2 / (9 * freedom))
    assert (statistic / freedom) ** (1 / 3) < 1 - 2 / (9 * freedom) + 4 * spread


def test_noise_of_neighbouring_positions_choices_and_seeds_is_uncorrelated():
    def row(*draw):
        return noise.gumbel(noise.random_bits(np.arange(50_000), noise.noise_key(*draw)))

    base = row(1, 0, 0)
    for other in (row(2, 0, 0), row(1, 1, 0), row(1, 0, 1), np.roll(base, 1)):
        assert abs(np.corrcoef(base, other)[0, 1]) < 0.02
    assert base.mean() == pytest.approx(0.5772, abs=0.03)
    assert base.std() == pytest.approx(math.pi / math.sqrt(6), abs=0.03)


def test_ties_go_to_the_lowest_id_and_filters_keep_a_prefix_of_the_ranking():
    row = np.array([1.0, 3.0, 3.0, 3.0, 2.0], dtype=np.float32)
    ids, _ = keep_candidates(row, 3.0, SamplingOptions(temperature=1.0, top_k=2))
    assert ids.tolist() == [1, 2]
    greedy = {"seen_ids": np.empty(0, dtype=int), "seen_counts": np.empty(0), "allowed": None, "key": 0}
    assert choose_token(row, SamplingOptions(), **greedy) == 1


@pytest.mark.parametrize(
    ("row", "allowed", "said"),
    [
        ([1.0, math.nan, 2.0], None, "not numbers"),
        ([1.0, math.inf, 2.0], None, "leave no token"),
        ([1.0, 1.0, 2.0], [False] * 3, "loosen its schema"),
    ],
)
def test_a_row_without_a_choice_is_an_error_that_says_why(row, allowed, said):
    nothing = np.empty(0, dtype=np.int64)
    mask = None if allowed is None else np.array(allowed)
    with pytest.raises(BackendError, match=said):
        choose_token(
            np.array(row, dtype=np.float32),
            SamplingOptions(temperature=1.0),
            seen_ids=nothing,
            seen_counts=nothing,
            allowed=mask,
            key=0,
        )


def test_log_probabilities_and_entropy():
    row = np.array([0.0, 2.0, 2.0, -math.inf], dtype=np.float32)
    chosen, top = chosen_and_top(row, 0, 3)
    total = 1 + 2 * math.exp(2)
    assert chosen == pytest.approx(-math.log(total))
    assert [token for token, _ in top] == [1, 2, 0]
    assert top[0][1] == pytest.approx(2 - math.log(total))
    assert entropy_nats(row, 2) == pytest.approx(math.log(2))
    probabilities = np.array([1, math.exp(2), math.exp(2)]) / total
    assert entropy_nats(row, 10) == pytest.approx(float(-(probabilities * np.log(probabilities)).sum()))
