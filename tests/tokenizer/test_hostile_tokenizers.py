"""Tokenizer files that lie, panic or never end: one line, in time."""

from __future__ import annotations

import copy
import json
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from tests.fuzz.targets import PIECES, TOKENIZER
from vortex.errors import ModelFileError, VortexError
from vortex.tokenizer.files import TokenizerFiles, TokenizerSettings
from vortex.tokenizer.foreign_patterns import check_patterns, ends_in_time, patterns_in
from vortex.tokenizer.gguf import tokenizer_files_from_gguf
from vortex.tokenizer.house import HouseTokenizer, load_tokenizer
from vortex.tokenizer.pretokenizers import PRE_TOKENIZERS

ENDLESS = "(a+)+$"  # backtracks without end on many letters and another sign


def document(pattern: str) -> dict[str, Any]:
    found = copy.deepcopy(TOKENIZER)
    found["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = pattern  # type: ignore[index]  # of JSON
    return found


def folder_of(tmp_path: Path, **files: Any) -> Path:
    for name, value in {"tokenizer": TOKENIZER, **files}.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(value))
    return tmp_path


def test_a_pattern_without_end_is_refused_at_opening(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="a pattern that does not come to an end") as caught:
        load_tokenizer(folder_of(tmp_path, tokenizer=document(ENDLESS)))
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.long
@pytest.mark.parametrize(
    "pattern", ["(a|aa)+$", "(\\w+\\s?)+$", "(a*)*b", "a*a*a*a*a*b", "(x|xx)+y", "\\s*\\s*\\s*x|."]
)
def test_patterns_that_need_for_ever_or_grow_with_the_cube_of_a_text_do_not_pass(pattern: str) -> None:
    assert not ends_in_time(pattern)


@pytest.mark.long
@pytest.mark.parametrize("pattern", [" ?[a-z]+|.+", r"\p{N}{1,3}(?=(\d{3})*\b)", r"(?=(\d{3})+(?!\d))", r"\s?\p{L}+"])
def test_patterns_of_honest_models_pass(pattern: str) -> None:
    assert ends_in_time(pattern)


def test_patterns_are_found_wherever_they_stand() -> None:
    nested = {"normalizer": {"pattern": {"Regex": "a"}}, "decoder": {"decoders": [{"pattern": {"Regex": "b"}}]}}
    assert set(patterns_in({**document("c"), **nested})) == {"a", "b", "c"}
    known = {"pretokenizers": [{"pattern": {"Regex": pattern}} for pattern in PRE_TOKENIZERS["qwen2"].patterns]}
    check_patterns(known, "a known family's needs no trial")


def test_other_threads_run_while_a_long_text_is_cut() -> None:
    """A server's event loop answers meanwhile."""
    tokenizer = HouseTokenizer(TokenizerFiles(json.dumps(TOKENIZER).encode(), TokenizerSettings()))
    ticks, is_done = [0], threading.Event()

    def tick() -> None:
        while not is_done.wait(0.001):
            ticks[0] += 1

    other = threading.Thread(target=tick)
    other.start()
    began = time.perf_counter()
    tokenizer.encode("a ab abba 12 " * 50_000)
    took_s, during = time.perf_counter() - began, ticks[0]
    is_done.set()
    other.join()
    assert during > 5, f"{during} ticks in {took_s:.2f} s"


def test_a_panic_on_one_text_is_one_line() -> None:
    tokenizer = HouseTokenizer(TokenizerFiles(json.dumps(document(ENDLESS)).encode(), TokenizerSettings()))
    with pytest.raises(ModelFileError, match="the model's tokenizer cannot read this text"):
        tokenizer.encode("a" * 60 + "!")
    assert tokenizer.decode(tokenizer.encode("ab")) == "ab"


def test_an_unknown_token_that_is_none_is_one_line() -> None:
    """The library raises its bare Exception for it, and at a text's first unknown sign only."""
    found = copy.deepcopy(TOKENIZER)
    found["model"]["unk_token"] = "aaaa"  # type: ignore[index]  # of JSON
    tokenizer = HouseTokenizer(TokenizerFiles(json.dumps(found).encode(), TokenizerSettings()))
    with pytest.raises(ModelFileError, match="the model's tokenizer cannot read this text"):
        tokenizer.encode("ab Z")


@pytest.mark.parametrize(
    "files",
    [
        {"tokenizer": [1]},
        {"tokenizer": {"version": "1.0"}},
        {"tokenizer_config": [1]},
        {"tokenizer_config": {"chat_template": [{"name": "default"}]}},
        {"tokenizer_config": {"chat_template": ["x"]}},
        {"config": "x"},
    ],
)
def test_settings_of_other_types_are_one_line(tmp_path: Path, files: dict[str, Any]) -> None:
    with pytest.raises(ModelFileError) as caught:
        load_tokenizer(folder_of(tmp_path, **files))
    assert len(str(caught.value).splitlines()) == 1


def test_ids_outside_the_vocabulary_never_come_up(tmp_path: Path) -> None:
    model = {"bos_token_id": 10**9, "eos_token_id": [18, -1, True, 2**40]}
    tokenizer = load_tokenizer(folder_of(tmp_path, config=model, tokenizer_config={"add_bos_token": True}))
    assert (tokenizer.settings.bos_id, tokenizer.settings.eos_id, tokenizer.settings.end_ids) == (None, 18, (18,))
    assert tokenizer.encode("ab", add_bos=True) == tokenizer.encode("ab")


def test_nesting_without_end_is_one_line(tmp_path: Path) -> None:
    (folder_of(tmp_path) / "tokenizer.json").write_text('{"a": ' + "[" * 100_000 + "]" * 100_000 + "}")
    with pytest.raises(ModelFileError, match="nested too deeply"):
        load_tokenizer(tmp_path)


def gguf_fields(tokens: list[str]) -> dict[str, Any]:
    count = len(tokens)
    fields = {"model": "llama", "tokens": tokens, "scores": [0.0] * count, "token_type": [1] * count}
    return {f"tokenizer.ggml.{key}": value for key, value in fields.items()}


def test_a_vocabulary_of_long_pieces_does_not_take_for_ever() -> None:
    """To list its merges a piece is cut at every place, which is quadratic in its length."""
    with pytest.raises(ModelFileError, match="60,000 characters; at most 4,096"):
        tokenizer_files_from_gguf(gguf_fields([*PIECES, "a" * 60_000]))
    with pytest.raises(ModelFileError, match="too long for a vocabulary"):
        tokenizer_files_from_gguf(gguf_fields([*PIECES, *(f"{i:04}" * 1000 for i in range(100))]))
    assert tokenizer_files_from_gguf(gguf_fields([*PIECES, *("a" * i for i in range(2, 300))])).tokenizer_json


@pytest.mark.parametrize("role", ["bos", "eos", "unknown", "padding"])
@pytest.mark.parametrize("value", [10**6, -2, 1.5, [1], "1", True, float("nan")])
def test_ids_of_roles_are_ids(role: str, value: object) -> None:
    with pytest.raises(VortexError, match=role):
        tokenizer_files_from_gguf({**gguf_fields(PIECES), f"tokenizer.ggml.{role}_token_id": value})
