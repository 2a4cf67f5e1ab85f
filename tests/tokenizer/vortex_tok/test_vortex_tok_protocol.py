"""The protocol's face: text in and out, special tokens from ids alone, streams that never show half a character."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vortex.errors import RequestError
from vortex.protocols import Tokenizer
from vortex.tokenizer.vortex_tok import CodeClass, VortexTokenizer, load_vortex_tokenizer


@pytest.fixture(scope="module", params=["trained here", "shipped"])
def any_tokenizer(request: pytest.FixtureRequest, tokenizer: VortexTokenizer) -> VortexTokenizer:
    return tokenizer if request.param == "trained here" else load_vortex_tokenizer()


@settings(max_examples=40)
@given(text=st.text(max_size=200))
def test_text_comes_back(any_tokenizer: VortexTokenizer, text: str) -> None:
    assert any_tokenizer.decode(any_tokenizer.encode(text)) == text


@settings(max_examples=40)
@given(data=st.binary(max_size=200))
def test_bytes_come_back(any_tokenizer: VortexTokenizer, data: bytes) -> None:
    codes = any_tokenizer.encode_bytes(data)
    assert any_tokenizer.decode_bytes(codes) == data
    assert len(codes) <= len(data)


@settings(max_examples=40)
@given(data=st.binary(max_size=120) | st.text(max_size=60).map(str.encode))
def test_a_stream_of_tokens_gives_what_decoding_at_once_gives(any_tokenizer: VortexTokenizer, data: bytes) -> None:
    ids = any_tokenizer.encode_bytes(data).tolist()
    decoder = any_tokenizer.stream_decoder()
    assert "".join([*map(decoder.push, ids), decoder.flush()]) == any_tokenizer.decode(ids)


def test_special_tokens_come_from_text_only_when_asked(tokenizer: VortexTokenizer) -> None:
    text = "a<|end|>b<|user|><|us"
    plain, parsed = tokenizer.encode(text), tokenizer.encode(text, special=True)
    assert all(token_id < tokenizer.vocabulary.num_codes for token_id in plain)
    assert [tokenizer.vocabulary.class_of(token_id) for token_id in parsed].count(CodeClass.SPECIAL) == 2
    assert tokenizer.decode(plain) == tokenizer.decode(parsed, special=True) == text
    assert tokenizer.decode(parsed) == "ab<|us"


def test_the_protocol_is_kept(tokenizer: VortexTokenizer) -> None:
    kept: Tokenizer = tokenizer
    assert kept.vocab_size == tokenizer.vocabulary.num_codes + len(tokenizer.vocabulary.specials)
    begin, *rest = kept.encode("hello", add_bos=True)
    assert kept.token_bytes(begin) == b"<|begin|>"
    assert b"".join(map(kept.token_bytes, rest)) == b"hello"
    assert {kept.token_bytes(token_id) for token_id in kept.end_ids} == {b"<|end|>", b"<|end_of_turn|>"}


def test_a_lone_surrogate_is_bytes_like_any_other(tokenizer: VortexTokenizer) -> None:
    assert tokenizer.decode_bytes(tokenizer.encode("\ud800x")) == b"\xed\xa0\x80x"


def test_ids_out_of_range_are_refused(tokenizer: VortexTokenizer) -> None:
    num_codes = tokenizer.vocabulary.num_codes
    for codes in ([num_codes], [-1], np.array([2**40])):
        with pytest.raises(RequestError, match="out of range"):
            tokenizer.decode_bytes(codes)
    for token_id in (-1, tokenizer.vocab_size):
        with pytest.raises(RequestError, match="out of range"):
            tokenizer.token_bytes(token_id)


def test_the_shipped_vocabulary_is_small_and_good_at_what_it_saw() -> None:
    from vortex.tokenizer.vortex_tok.files import SHIPPED_FOLDER

    assert sum(file.stat().st_size for file in SHIPPED_FOLDER.iterdir()) < 1_000_000
    text = b"def main(argv=None):\n    parser = argparse.ArgumentParser(description=__doc__)\n"
    assert len(load_vortex_tokenizer().encode_bytes(text)) * 3 < len(text)
