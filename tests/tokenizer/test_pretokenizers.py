"""Cutting rules by name: known cuts of known families, and nothing lost by any of them."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models

from vortex.tokenizer.pretokenizers import PRE_TOKENIZERS, pre_tokenizer, pre_tokenizer_json
from vortex.tokenizer.token_bytes import byte_level_bytes

RUNNING = {}
for _name, _rule in PRE_TOKENIZERS.items():
    _base = json.loads(Tokenizer(models.BPE()).to_str())
    RUNNING[_name] = Tokenizer.from_str(json.dumps({**_base, "pre_tokenizer": pre_tokenizer_json(_rule)})).pre_tokenizer


def cut(name: str, text: str) -> list[str]:
    return [byte_level_bytes(piece).decode(errors="replace") for piece, _ in RUNNING[name].pre_tokenize_str(text)]


@pytest.mark.parametrize(
    ("name", "text", "pieces"),
    [
        ("gpt-2", "It's 1234  ok", ["It", "'s", " 1234", " ", " ok"]),
        ("gpt-2", "I'LL", ["I", "'", "LL"]),
        ("smollm", "a 12½", ["a", " ", "1", "2", "½"]),
        ("llama-bpe", "I'LL pay 12345\n\n  x", ["I", "'LL", " pay", " ", "123", "45", "\n\n", " ", " x"]),
        ("qwen2", "x=12", ["x", "=", "1", "2"]),
        ("gpt-4o", "fooBar don't/\n", ["foo", "Bar", " don't", "/\n"]),
        ("tekken", "fooBar 12", ["foo", "Bar", " ", "1", "2"]),
        ("deepseek-v3", "1234世界a", ["123", "4", "世界", "a"]),
        ("default", "1234 a+b", ["123", "4", " a", "+", "b"]),
    ],
)
def test_cuts(name: str, text: str, pieces: list[str]) -> None:
    assert cut(name, text) == pieces


@given(st.sampled_from(sorted(PRE_TOKENIZERS)), st.text())
def test_no_rule_loses_a_character(name: str, text: str) -> None:
    text = text.encode(errors="replace").decode()
    assert b"".join(byte_level_bytes(piece) for piece, _ in RUNNING[name].pre_tokenize_str(text)) == text.encode()


def test_families_differ_where_they_must() -> None:
    assert pre_tokenizer("llama-bpe").add_bos
    assert pre_tokenizer("qwen2").nfc
    assert not pre_tokenizer("gpt-2").ignore_merges
