"""Tokenizers out of GGUF metadata give the ids that other programs give."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, pre_tokenizers

from tests.tokenizer.golden_texts import GOLDEN_FILE, TEXTS
from vortex.errors import ModelFileError, UnsupportedModel
from vortex.hub.names import resolve
from vortex.models.files.gguf import GgufFile
from vortex.tokenizer.files import TokenizerFiles
from vortex.tokenizer.gguf import tokenizer_files_from_gguf
from vortex.tokenizer.house import HouseTokenizer, load_tokenizer

LETTERS = [*"abĠ", "ab", "<|end|>", "<user>"]


def tiny_fields(**changes: Any) -> dict[str, Any]:
    fields = {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "gpt-2",
        "tokenizer.ggml.tokens": LETTERS,
        "tokenizer.ggml.token_type": [1, 1, 1, 1, 3, 4],
        "tokenizer.ggml.merges": ["a b"],
        "tokenizer.ggml.eos_token_id": 4,
    }
    return {**fields, **{f"tokenizer.ggml.{key}": value for key, value in changes.items()}}


def assert_golden(tokenizer: HouseTokenizer, name: str) -> None:
    for text, (plain, special) in zip(TEXTS, json.loads(GOLDEN_FILE.read_text())[name], strict=True):
        assert tokenizer.encode(text) == plain, text
        assert tokenizer.encode(text, special=True) == special, text
        assert tokenizer.decode(plain, special=True) == text


def test_smollm2_gives_the_ids_of_llama_cpp(default_tokenizer: HouseTokenizer) -> None:
    assert_golden(default_tokenizer, "smollm2-135m")


@pytest.mark.long
def test_gemma_gives_the_ids_of_llama_cpp() -> None:
    files = tokenizer_files_from_gguf(GgufFile(resolve("gemma3-270m").path).metadata)
    assert_golden(HouseTokenizer(files), "gemma3-270m")
    assert files.settings.add_bos
    assert files.settings.end_ids == (1, 106)  # <eos>, <end_of_turn>


def test_smollm2_cuts_text_as_its_published_rule_does(default_folder: Path, default_tokenizer: HouseTokenizer) -> None:
    published = Tokenizer.from_file(str(default_folder / "tokenizer.json"))
    digits = pre_tokenizers.Digits(individual_digits=True)
    published.pre_tokenizer = pre_tokenizers.Sequence([digits, pre_tokenizers.ByteLevel(add_prefix_space=False)])
    for text in TEXTS:
        assert default_tokenizer.encode(text, special=True) == published.encode(text, add_special_tokens=False).ids


def test_settings_of_the_default_model(default_files: TokenizerFiles) -> None:
    settings = default_files.settings
    assert (settings.bos_id, settings.eos_id, settings.end_ids, settings.add_bos) == (1, 2, (0, 2), False)
    assert settings.special_tokens["eos_token"] == "<|im_end|>"
    assert "<|im_start|>" in settings.chat_templates["default"]


def test_saved_files_load_as_they_were(default_files: TokenizerFiles, default_folder: Path) -> None:
    assert TokenizerFiles.load(default_folder) == default_files


@pytest.mark.parametrize("content", [None, b"", b"{}", b'{"format": 99}', b'{"format": 1, "end_ids": [], "x": 1}'])
def test_damaged_settings_are_one_line(tmp_path: Path, content: bytes | None) -> None:
    tokenizer_files_from_gguf(tiny_fields()).save(tmp_path)
    file = tmp_path / "tokenizer_settings.json"
    if content is None:
        (tmp_path / "tokenizer.json").unlink()
    else:
        file.write_bytes(content)
    with pytest.raises(ModelFileError, match="remove") as caught:
        load_tokenizer(tmp_path)
    assert "\n" not in str(caught.value)


def test_control_and_user_defined_tokens_differ() -> None:
    tokenizer = HouseTokenizer(tokenizer_files_from_gguf(tiny_fields()))
    assert tokenizer.encode("ab<|end|>", special=True) == [3, 4]
    assert 4 not in tokenizer.encode("ab<|end|>")
    assert tokenizer.encode("ab<user>") == [3, 5]
    assert tokenizer.decode([3, 4, 5]) == "ab<user>"
    assert tokenizer.decode([3, 4], special=True) == "ab<|end|>"
    assert tokenizer.end_ids == {4}
    assert (tokenizer.vocab_size, tokenizer.token_bytes(2), tokenizer.token_bytes(99)) == (6, b" ", b"")


def test_named_chat_templates() -> None:
    fields = {**tiny_fields(), "tokenizer.chat_template": "a", "tokenizer.chat_template.tool_use": "b"}
    fields["tokenizer.chat_templates"] = ["tool_use"]
    assert tokenizer_files_from_gguf(fields).settings.chat_templates == {"default": "a", "tool_use": "b"}


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"tokens": []}, ModelFileError, "no vocabulary"),
        ({"token_type": [1]}, ModelFileError, "inconsistent"),
        ({"eos_token_id": 6}, ModelFileError, "outside"),
        ({"model": "bert"}, UnsupportedModel, "'bert'"),
        ({"pre": "nobody-knows"}, UnsupportedModel, "'nobody-knows'"),
    ],
)
def test_a_broken_or_foreign_vocabulary_is_one_line(
    changes: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        tokenizer_files_from_gguf(tiny_fields(**changes))


def test_merges_of_unknown_tokens_are_one_line() -> None:
    with pytest.raises(ModelFileError, match=r"tokenizer\.json does not load"):
        HouseTokenizer(tokenizer_files_from_gguf(tiny_fields(merges=["x y"])))


@pytest.mark.peer
@pytest.mark.parametrize("name", ["smollm2-135m", "gemma3-270m"])
def test_golden_ids_are_those_of_the_installed_llama_cpp(name: str) -> None:
    llama_cpp = pytest.importorskip("llama_cpp")
    peer = llama_cpp.Llama(str(resolve(name).path), vocab_only=True, verbose=False)
    golden = json.loads(GOLDEN_FILE.read_text())[name]
    assert golden == [[peer.tokenize(t.encode(), add_bos=False, special=s) for s in (False, True)] for t in TEXTS]


def test_transformers_reads_the_saved_file_alike(default_folder: Path, default_tokenizer: HouseTokenizer) -> None:
    from transformers import PreTrainedTokenizerFast

    peer = PreTrainedTokenizerFast(tokenizer_file=str(default_folder / "tokenizer.json"))
    for text in TEXTS:
        ids = peer.encode(text, add_special_tokens=False)
        assert default_tokenizer.encode(text, special=True) == ids
        for special in (False, True):
            theirs = peer.decode(ids, skip_special_tokens=not special, clean_up_tokenization_spaces=False)
            assert default_tokenizer.decode(ids, special=special) == theirs
