"""A gap is filled by models that have marks for it; others say that they cannot."""

from __future__ import annotations

import pytest

from vortex.engine.infill import MARKS, infill_ids
from vortex.tokenizer.byte_tokenizer import ByteTokenizer
from vortex.tokenizer.vortex_tok import Parse, Vocabulary, VortexTokenizer
from vortex.tokenizer.vortex_tok.vocabulary import ordered_pieces

BYTES = ordered_pieces(set())


@pytest.mark.parametrize("marks", MARKS)
def test_the_gap_stands_at_the_end(marks: tuple[str, str, str]) -> None:
    tokenizer = VortexTokenizer(Vocabulary(BYTES, (1,) * len(BYTES), Parse.FEWEST, ("<|end|>", *marks)))
    ids = infill_ids(tokenizer, "def f", "return 1 <|end|>")
    assert ids is not None
    assert tokenizer.decode(ids, special=True) == f"{marks[0]}def f{marks[1]}return 1 <|end|>{marks[2]}"
    assert [at for at, token_id in enumerate(ids) if token_id >= 256] == [0, 6, len(ids) - 1]  # text stays text


def test_a_model_without_marks_has_no_way() -> None:
    assert infill_ids(ByteTokenizer(), "a", "b") is None
