"""SentencePiece BPE: merges by rank equal the naive algorithm by score."""

from __future__ import annotations

from typing import Any

from hypothesis import assume, given
from hypothesis import strategies as st

from vortex.tokenizer.gguf import tokenizer_files_from_gguf
from vortex.tokenizer.house import HouseTokenizer
from vortex.tokenizer.sentencepiece import SPACE

BASE = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *"abc", SPACE]
TYPES = [2, 3, 3, *[6] * 256, *[1] * 4]
MANY = st.lists(st.text(f"abc{SPACE}", min_size=2, max_size=4), max_size=12, unique=True)


def fields(pieces: list[str], **changes: Any) -> dict[str, Any]:
    tokens = BASE + pieces
    values = {
        "model": "llama",
        "tokens": tokens,
        "token_type": TYPES + [1] * len(pieces),
        "scores": [0.0] * len(BASE) + [-float(rank) for rank in range(len(pieces))],
        "bos_token_id": 1,
        "eos_token_id": 2,
        "unknown_token_id": 0,
        **changes,
    }
    return {f"tokenizer.ggml.{key}": value for key, value in values.items()}


def naive_encode(text: str, pieces: list[str]) -> list[str]:
    """Join the best neighbours until none are left. Where two overlapping pairs spell the best piece in different ways,
    the order is a matter of definition: such texts are not examined."""
    symbols = list(text.replace(" ", SPACE))
    while True:
        pairs = [left + right for left, right in zip(symbols, symbols[1:], strict=False)]
        known = [pieces.index(pair) for pair in pairs if pair in pieces]
        if not known:
            return symbols
        best = pieces[min(known)]
        places = [i for i, pair in enumerate(pairs) if pair == best]
        overlapping = any(b == a + 1 and symbols[a] != symbols[b] for a, b in zip(places, places[1:], strict=False))
        assume(not overlapping)
        at = places[0]
        symbols[at : at + 2] = [best]


@given(MANY, st.text("abc ", max_size=30))
def test_ids_are_those_of_the_naive_algorithm(pieces: list[str], text: str) -> None:
    tokenizer = HouseTokenizer(tokenizer_files_from_gguf(fields(pieces, add_space_prefix=False)))
    expected = naive_encode(text, pieces)
    ids = tokenizer.encode(text)
    assert [(BASE + pieces)[i] for i in ids] == expected
    assert tokenizer.decode(ids) == text


@given(MANY, st.text(max_size=20))
def test_any_text_comes_back_with_a_space_prefix_too(pieces: list[str], text: str) -> None:
    text = text.replace(SPACE, "").encode(errors="replace").decode()
    tokenizer = HouseTokenizer(tokenizer_files_from_gguf(fields(pieces)))
    ids = tokenizer.encode(text, add_bos=True)
    assert ids[0] == 1
    assert tokenizer.decode(ids) == text
    stream = tokenizer.stream_decoder()
    assert "".join([*(stream.push(i) for i in ids), stream.flush()]) == text


def test_a_space_is_put_in_front_and_taken_away() -> None:
    tokenizer = HouseTokenizer(tokenizer_files_from_gguf(fields([SPACE + "a"])))
    assert tokenizer.encode("a") == [len(BASE)]
    assert tokenizer.decode([len(BASE)]) == "a"
    assert tokenizer.token_bytes(len(BASE)) == b" a"
    assert tokenizer.token_bytes(3 + 0xE4) == b"\xe4"
