"""Rules about bytes: whole characters, and quotations that are copies."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from vortex.decode.sampler import SamplerState
from vortex.decode.structure.byte_rules import Both, ByteVocabulary, ExactQuotes, WholeCharacters
from vortex.tokenizer.byte_tokenizer import ByteTokenizer
from vortex.types import SamplingOptions

TOKENIZER = ByteTokenizer()
VOCABULARY = ByteVocabulary(TOKENIZER)


def answer(constraint, seed: int, num_tokens: int, favour: np.ndarray | None = None) -> bytes:
    """A random answer under the rules; each token is also chosen by a copy, as on a drafted path."""
    state = SamplerState(SamplingOptions(temperature=1.0), seed=seed, constraint=constraint)
    noise = np.random.default_rng(seed)
    written = []
    for _ in range(num_tokens):
        row = (6 * noise.standard_normal(TOKENIZER.vocab_size)).astype(np.float32)
        row = row if favour is None else row + favour
        token_id = state.choose(row)
        assert token_id == state.copy().choose(row)
        state.advance(token_id)
        if token_id in TOKENIZER.end_ids:
            break
        written.append(token_id)
    return b"".join(map(TOKENIZER.token_bytes, written))


@settings(max_examples=15)
@given(st.integers(0, 10**6))
def test_random_bytes_become_whole_characters(seed):
    text = answer(WholeCharacters(VOCABULARY), seed, 60)
    for cut in range(4):  # the limit may cut the last character
        try:
            (text[: len(text) - cut] if cut else text).decode()
            return
        except UnicodeDecodeError:
            continue
    raise AssertionError(f"not UTF-8: {text!r}")


@settings(max_examples=15)
@given(st.integers(0, 10**6), st.booleans())
def test_quotations_are_copied_from_the_prompt(seed, both):
    prompt = b"the keeper lit the lamp, and the ship came home before the storm"
    rule = ExactQuotes(VOCABULARY, list(prompt))
    favour = np.zeros(TOKENIZER.vocab_size, dtype=np.float32)
    favour[ord('"')] = 12.0
    favour[list(prompt)] += 9.0
    text = answer(Both(WholeCharacters(VOCABULARY), rule) if both else rule, seed, 80, favour)
    for quoted in text.split(b'"')[1::2][:-1]:
        if quoted[:1] in prompt:
            assert quoted in prompt


def test_speech_is_left_alone():
    rule = ExactQuotes(VOCABULARY, list(b"nothing of it"))
    for byte in b'he said "x':
        rule.advance(byte)
    assert rule.mask() is None
    for byte in b'yz" and "noth':
        rule.advance(byte)
    allowed = rule.mask()
    assert sorted(np.flatnonzero(allowed).tolist()) == [ord('"'), ord("i")]
