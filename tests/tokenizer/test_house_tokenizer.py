"""The adapter: streams, bytes, special tokens, threads."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from hypothesis import assume, given
from hypothesis import strategies as st

from vortex.tokenizer.house import HouseTokenizer, load_tokenizer
from vortex.tokenizer.stream import ByteStreamDecoder, decode_bytes

RARE_BYTES = {0x04, 0x06, 0x13, 0x14, 0x16, 0x1D, 0xC0, 0xC1, 0xF1, 0xF2, *range(0xF5, 0x100)}


@given(st.lists(st.binary(max_size=5)), st.booleans())
def test_a_stream_of_any_bytes_equals_the_whole(pieces: list[bytes], strip_space: bool) -> None:
    stream = ByteStreamDecoder(lambda i: pieces[i], strip_space=strip_space)
    parts = [stream.push(i) for i in range(len(pieces))]
    assert "".join([*parts, stream.flush()]) == decode_bytes(b"".join(pieces), strip_space=strip_space)


def test_a_stream_never_shows_half_a_character() -> None:
    data = "é世🎉".encode()
    stream = ByteStreamDecoder(lambda i: data[i : i + 1], strip_space=False)
    assert [stream.push(i) for i in range(len(data))] == ["", "é", "", "", "世", "", "", "", "🎉"]
    assert stream.flush() == ""


@given(ids=st.lists(st.integers(0, 49_200), max_size=30))
def test_a_stream_of_any_tokens_equals_the_whole(default_tokenizer: HouseTokenizer, ids: list[int]) -> None:
    stream = default_tokenizer.stream_decoder()
    assert "".join([*(stream.push(i) for i in ids), stream.flush()]) == default_tokenizer.decode(ids)


@given(text=st.text())
def test_text_comes_back(default_tokenizer: HouseTokenizer, text: str) -> None:
    text = text.encode(errors="replace").decode()
    assume(not RARE_BYTES & set(text.encode()))  # SmolLM2's vocabulary has no tokens for them
    ids = default_tokenizer.encode(text)
    assert default_tokenizer.decode(ids) == text
    assert b"".join(map(default_tokenizer.token_bytes, ids)) == text.encode()


@given(
    parts=st.lists(st.sampled_from(["<|im_end|>", "<|im_start|>", "<|im_", "end|>", "hi", " "]), max_size=8),
)
def test_text_never_becomes_a_control_token_unless_asked(default_tokenizer: HouseTokenizer, parts: list[str]) -> None:
    text = "".join(parts)
    control = set(default_tokenizer.control_tokens.values())
    assert not control & set(default_tokenizer.encode(text))
    parsed = default_tokenizer.encode(text, special=True)
    assert sum(i in control for i in parsed) == text.count("<|im_end|>") + text.count("<|im_start|>")
    assert default_tokenizer.decode(parsed, special=True) == text


def test_lone_surrogates_do_not_break_it(default_tokenizer: HouseTokenizer) -> None:
    assert default_tokenizer.decode(default_tokenizer.encode("a\ud800b")) == "a?b"


def test_threads_do_not_disturb_each_other(default_tokenizer: HouseTokenizer) -> None:
    def encode(special: bool) -> list[int]:
        return default_tokenizer.encode("<|im_end|>" * 50, special=special)

    expected = {special: encode(special) for special in (False, True)}
    assert expected[True] == [2] * 50
    with ThreadPoolExecutor(4) as pool:
        asked = [index % 2 == 0 for index in range(200)]
        assert list(pool.map(encode, asked)) == [expected[special] for special in asked]


def test_it_loads_fast(default_folder: Path) -> None:
    def load_cpu_s() -> float:
        start = time.process_time()
        load_tokenizer(default_folder)
        return time.process_time() - start

    assert min(load_cpu_s() for _ in range(3)) < 0.5  # processor time, so that a busy machine does not fail it
