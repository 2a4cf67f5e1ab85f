"""Tokenizers of Hugging Face folders: what the files around tokenizer.json say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors

from vortex.errors import ModelFileError, UnsupportedModel
from vortex.tokenizer.house import load_tokenizer

LETTERS = {letter: index for index, letter in enumerate("abcĠ<|user>")}
BOS, EOS, USER, THINK = range(len(LETTERS), len(LETTERS) + 4)


def write_folder(folder: Path, *, adds_bos: bool = False, **files: Any) -> Path:
    tokenizer = Tokenizer(models.BPE(vocab=LETTERS, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(text, normalized=False) for text in ("<bos>", "<eos>")])
    tokenizer.add_tokens([AddedToken(text, normalized=False) for text in ("<|user|>", "<think>")])
    if adds_bos:
        tokenizer.post_processor = processors.TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", BOS)])
    tokenizer.enable_truncation(3)
    tokenizer.save(str(folder / "tokenizer.json"))
    for name, value in files.items():
        file = folder / (f"{name}.json" if isinstance(value, dict) else f"{name}.jinja")
        file.write_text(value if isinstance(value, str) else json.dumps(value))
    return folder


def test_ends_and_specials_come_from_every_file(tmp_path: Path) -> None:
    config = {"bos_token": {"content": "<bos>"}, "eos_token": "<eos>", "chat_template": "old"}
    folder = write_folder(
        tmp_path, tokenizer_config=config, generation_config={"eos_token_id": [EOS, 2]}, chat_template="new"
    )
    tokenizer = load_tokenizer(folder)
    assert tokenizer.settings.bos_id == BOS
    assert tokenizer.end_ids == {EOS, 2}
    assert tokenizer.settings.special_tokens == {"bos_token": "<bos>", "eos_token": "<eos>"}
    assert tokenizer.settings.chat_templates == {"default": "new"}
    assert tokenizer.encode("abcabc") == [0, 1, 2, 0, 1, 2]  # a stored truncation is not obeyed


@pytest.mark.parametrize(
    ("adds_bos", "said", "expected"), [(False, None, [0]), (True, None, [BOS, 0]), (True, False, [0])]
)
def test_bos_as_the_files_say(tmp_path: Path, adds_bos: bool, said: bool | None, expected: list[int]) -> None:
    config = {"bos_token": "<bos>"} if said is None else {"bos_token": "<bos>", "add_bos_token": said}
    tokenizer = load_tokenizer(write_folder(tmp_path, adds_bos=adds_bos, tokenizer_config=config))
    assert tokenizer.encode("a", add_bos=True) == expected
    assert tokenizer.encode("a") == [0]


def test_tokens_shaped_like_control_tokens_are_control_tokens(tmp_path: Path) -> None:
    tokenizer = load_tokenizer(write_folder(tmp_path))
    assert tokenizer.encode("<|user|>", special=True) == [USER]
    assert USER not in tokenizer.encode("<|user|>")
    assert tokenizer.encode("<think>") == [THINK]  # ordinary vocabulary: templates and models write it as text
    assert tokenizer.decode([USER, THINK]) == "<think>"


def test_named_templates(tmp_path: Path) -> None:
    templates = [{"name": "default", "template": "a"}, {"name": "tool_use", "template": "b"}]
    folder = write_folder(tmp_path, tokenizer_config={"chat_template": templates})
    assert load_tokenizer(folder).settings.chat_templates == {"default": "a", "tool_use": "b"}
    (folder / "additional_chat_templates").mkdir()
    (folder / "additional_chat_templates" / "rag.jinja").write_text("c")
    assert load_tokenizer(folder).settings.chat_templates["rag"] == "c"


def test_a_folder_without_tokenizer_json_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedModel, match="save_pretrained"):
        load_tokenizer(tmp_path)


@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer_config.json", "generation_config.json"])
@pytest.mark.parametrize("content", ["{", "[]"])
def test_broken_files_are_named(tmp_path: Path, name: str, content: str) -> None:
    (write_folder(tmp_path) / name).write_text(content)
    with pytest.raises(ModelFileError, match=name):
        load_tokenizer(tmp_path)


def test_vocabularies_that_write_bytes_in_no_known_way_are_refused(tmp_path: Path) -> None:
    tokenizer = Tokenizer(models.WordPiece({"[UNK]": 0, "a": 1}, unk_token="[UNK]"))
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(UnsupportedModel, match="WordPiece"):
        load_tokenizer(tmp_path)
