"""The tokenizer's comparison: peers that are what they say, a split that leaks nothing, figures that follow texts."""

from __future__ import annotations

import ast
import inspect
import json
from pathlib import Path

import pytest

from vortex.bench.measurement import CheckFailed, run_measurement
from vortex.bench.tokenizer.comparison import HARD, OURS, TokenizerMeasurement, _check
from vortex.bench.tokenizer.corpora import Documents, from_folder, gather
from vortex.bench.tokenizer.peers import Contender, contender_of, tiktoken_of, train_bpe, train_superbpe

TEXTS = [(Path(inspect.__file__).parent / name).read_bytes()[:40_000] for name in ("inspect.py", "typing.py", "ast.py")]
DOCUMENTS = Documents(
    TEXTS, {"code": [Path(ast.__file__).read_bytes()[40_000:50_000]], "random bytes": [bytes(range(256))]}, ("tests",)
)


@pytest.fixture(scope="module")
def bpe() -> object:
    return train_bpe(TEXTS, 600)


@pytest.mark.long
def test_the_measurement_tells_who_spends_fewer_tokens() -> None:
    report = run_measurement(
        TokenizerMeasurement(
            DOCUMENTS, (600,), quality_minutes=0, timed_training=False, doubling_bytes=20_000, say=lambda _: None
        )
    )
    figures = json.loads(report.as_json())
    ours = figures[f"{OURS} 600"]
    assert ours["saved_share"] > 0 == figures["BPE 600"]["saved_share"]
    assert 0 < ours["random_tokens"] <= 256
    assert set(figures["doubling_ratio"]) >= {"a", "0xff"}
    assert all(len(row) <= len(report.columns) for row in report.rows)


def test_tiktoken_spends_the_same_tokens_as_the_merges_it_was_given(bpe: object) -> None:
    pytest.importorskip("tiktoken")
    theirs, same = contender_of("BPE", bpe), tiktoken_of(bpe)
    assert same is not None
    for text in [*TEXTS, "naïve  日本語 123\n".encode()]:
        assert theirs.encode(text) == same.encode(text)
        assert same.decode(same.encode(text)) == text


def test_superbpe_crosses_words_and_gives_text_back() -> None:
    made = contender_of("SuperBPE", train_superbpe(TEXTS, 600))
    pieces = [made.decode([number]) for number in range(made.vocab_size)]
    assert any(b" " in piece.strip() for piece in pieces)
    for text in TEXTS:
        assert made.decode(made.encode(text)) == text


def test_a_contender_that_loses_a_byte_is_not_timed() -> None:
    with pytest.raises(CheckFailed):
        _check(Contender(OURS, 256, list, lambda ids: bytes(ids)[:-1]), HARD)


@pytest.mark.long
def test_held_out_documents_are_not_trained_on(tmp_path: Path) -> None:
    for number in range(60):
        (tmp_path / f"{number}.txt").write_text(f"document {number} " * 40)
    for documents in (from_folder(tmp_path, 1_000_000), gather(300_000)):
        held_out = {text for texts in documents.held_out.values() for text in texts}
        assert held_out
        assert not held_out & set(documents.training)
