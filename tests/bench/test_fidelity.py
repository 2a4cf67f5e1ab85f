"""Divergence, agreement and perplexity against their definitions, and the stored reference that ships."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vortex.bench.fidelity import FidelityMeasurement, Sums, log_softmax, text_windows, window_logits
from vortex.bench.measurement import CheckFailed, run_measurement
from vortex.bench.stored_reference import KEPT, PROMPT_TOKENS, StoredReference, make_reference, shipped_reference
from vortex.models.hash_model import HashModel
from vortex.tokenizer.byte_tokenizer import ByteTokenizer


def measured(model: HashModel, shift: float) -> dict[str, object]:
    def reference(ids: list[int]) -> np.ndarray:
        logits = window_logits(HashModel(), ids)
        logits[:, 7] += shift
        return logits

    windows = text_windows(ByteTokenizer(), 200, 64)
    return dict(run_measurement(FidelityMeasurement("hash", model, windows, reference, "twin")).figures)


def test_a_model_equals_itself() -> None:
    figures = measured(HashModel(), 0.0)
    assert figures["mean_kl_nats"] == pytest.approx(0, abs=1e-12)
    assert figures["top1_agreement"] == 1
    assert figures["perplexity_ratio"] == 1
    assert figures["positions"] >= 200


def test_a_shifted_reference_is_noticed() -> None:
    assert measured(HashModel(), 4.0)["mean_kl_nats"] > 0.01


def test_a_reference_of_another_vocabulary_is_refused() -> None:
    with pytest.raises(CheckFailed, match="tokens"):
        FidelityMeasurement("hash", HashModel(), [[1, 2, 3]], lambda ids: np.zeros((3, 5)), "small").check()


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 150), st.integers(2, 40), st.integers(0, 2**32 - 1))
def test_sums_are_their_definitions(positions: int, vocab: int, seed: int) -> None:
    noise = np.random.default_rng(seed)
    ours, theirs = noise.normal(0, 3, (2, positions, vocab)).astype(np.float32)
    targets = noise.integers(0, vocab, positions)
    sums = Sums()
    sums.add(ours, theirs, targets)
    p, q = (np.exp(x.astype(np.float64)) / np.exp(x.astype(np.float64)).sum(1, keepdims=True) for x in (theirs, ours))
    figures = sums.figures()
    assert figures["mean_kl_nats"] == pytest.approx((p * np.log(p / q)).sum(1).mean(), rel=1e-6)
    assert figures["perplexity"] == pytest.approx(np.exp(-np.log(q[np.arange(positions), targets]).mean()), rel=1e-6)
    assert figures["top1_agreement"] == (p.argmax(1) == q.argmax(1)).mean()


def test_the_shipped_text_is_long_enough_and_cut_evenly() -> None:
    windows = text_windows(ByteTokenizer(), 2048, 512)
    assert sum(len(window) - 1 for window in windows) >= 2048
    assert {len(window) for window in windows} == {512}


# --- the stored reference --------------------------------------------------------------------------------------------


def test_a_stored_reference_comes_back_and_bounds_the_divergence_from_below(tmp_path: Path) -> None:
    noise = np.random.default_rng(3)
    theirs = noise.normal(0, 4, (12, 500)).astype(np.float32)
    ours = theirs + noise.normal(0, 0.3, theirs.shape).astype(np.float32)
    make_reference(range(12), lambda _: theirs).save(tmp_path / "reference.npz")
    with np.load(tmp_path / "reference.npz", allow_pickle=False) as stored:
        reference = StoredReference(stored["token_ids"], stored["top_ids"], stored["top_logprobs"])
    p, q = log_softmax(theirs), log_softmax(ours)
    exact = float((np.exp(p) * (p - q)).sum(1).mean())
    divergence, _ = reference.compare(ours)
    assert 0.5 * exact < divergence <= exact * 1.001
    same_divergence, agreement = reference.compare(theirs)
    assert (same_divergence, agreement) == (pytest.approx(0, abs=1e-6), 1.0)


def test_the_default_models_reference_ships_and_is_a_distribution() -> None:
    reference = shipped_reference("smollm2-135m")
    assert reference is not None
    assert reference.top_ids.shape == (PROMPT_TOKENS, KEPT)
    kept = np.exp(reference.top_logprobs).sum(axis=1)
    assert (kept <= 1 + 1e-5).all()
    assert (np.diff(reference.top_logprobs, axis=1) <= 0).all()
    assert shipped_reference("no-such-model") is None
