"""From a Hugging Face model folder to a tokenizer and its settings.

Reads `tokenizer.json`, `tokenizer_config.json`, `special_tokens_map.json`, `generation_config.json`, `config.json` and
`chat_template.jinja` / `chat_template.json`, where they exist. Runs no code of the folder. Does not read SentencePiece
model files (`tokenizer.model`).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer as RustTokenizer

from vortex.errors import ModelFileError, UnsupportedModel
from vortex.records.foreign import ForeignValues, read_json_object
from vortex.tokenizer.end_tokens import end_token_ids
from vortex.tokenizer.files import TOKENIZER_FILE, TokenizerFiles, TokenizerSettings
from vortex.tokenizer.foreign_patterns import check_patterns
from vortex.tokenizer.panics import reads

_ROLES = ("bos_token", "eos_token", "unk_token", "pad_token")


def tokenizer_files_from_folder(folder: Path) -> TokenizerFiles:
    """Raises UnsupportedModel where there is no `tokenizer.json`, ModelFileError for files that do not parse."""
    path = folder / TOKENIZER_FILE
    if not path.exists():
        raise UnsupportedModel(
            f"{folder} has no tokenizer.json; make one with transformers: "
            "AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER)"
        )
    document = read_json_object(path)  # nested without end, or no object: said before a parser recurses
    data = path.read_bytes()
    with reads(str(path)):
        vocabulary = RustTokenizer.from_buffer(data)
    check_patterns(dict(document.values_by_key), str(path))
    return TokenizerFiles(data, _settings(folder, vocabulary))


def _settings(folder: Path, vocabulary: RustTokenizer) -> TokenizerSettings:
    config = {**_read_object(folder / "special_tokens_map.json"), **_read_object(folder / "tokenizer_config.json")}
    generation = _read_object(folder / "generation_config.json")
    model = _read_object(folder / "config.json")
    special = {role: text for role in _ROLES if (text := _token_text(config.get(role))) is not None}
    ids = {role: vocabulary.token_to_id(text) for role, text in special.items()}
    size = vocabulary.get_vocab_size(with_added_tokens=True)
    bos_id = ids.get("bos_token", _one(model.get("bos_token_id"), size))
    eos_id = ids.get("eos_token", _one(model.get("eos_token_id"), size))
    added = {token.content: token_id for token_id, token in vocabulary.get_added_tokens_decoder().items()}
    named = [eos_id, *_many(generation.get("eos_token_id"), size), *_many(model.get("eos_token_id"), size)]
    return TokenizerSettings(
        bos_id=bos_id,
        eos_id=eos_id,
        end_ids=end_token_ids(added, named),
        add_bos=_adds_bos(config, vocabulary, bos_id),
        chat_templates=_chat_templates(folder, config),
        special_tokens=special,
    )


def _adds_bos(config: Mapping[str, Any], vocabulary: RustTokenizer, bos_id: int | None) -> bool:
    """What the configuration says, else what the tokenizer's own post-processor does to an empty text."""
    said = config.get("add_bos_token")
    if isinstance(said, bool):
        return said
    return bos_id is not None and vocabulary.encode("", add_special_tokens=True).ids[:1] == [bos_id]


def _chat_templates(folder: Path, config: Mapping[str, Any]) -> dict[str, str]:
    """Templates by name. A file of its own wins over the configuration's key, as in the library that writes both."""
    templates: dict[str, str] = {}
    stored = _read_object(folder / "chat_template.json").get("chat_template") or config.get("chat_template")
    if isinstance(stored, str):
        templates["default"] = stored
    elif isinstance(stored, list):
        entries = [ForeignValues(entry, f"{folder}: chat_template") for entry in stored]
        templates.update({entry.text("name", most=256): entry.text("template") for entry in entries})
    alone = folder / "chat_template.jinja"
    if alone.exists():
        templates["default"] = _text(alone)
    for path in sorted((folder / "additional_chat_templates").glob("*.jinja")):
        templates[path.stem] = _text(path)
    return templates


def _read_object(path: Path) -> dict[str, Any]:
    return dict(read_json_object(path).values_by_key) if path.exists() else {}


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise ModelFileError(f"{path} cannot be read as text ({error}); download it again") from error


def _token_text(value: object) -> str | None:
    """A token in a configuration is its text, or an object with its text under "content"."""
    if isinstance(value, dict):
        value = value.get("content")
    return value.encode("utf-8", errors="replace").decode() if isinstance(value, str) else None  # lone surrogates


def _many(value: object, size: int) -> list[int]:
    """Ids of the vocabulary; what is none is left out, as such ids never come up."""
    values = value if isinstance(value, list) else [value]
    return [item for item in values if isinstance(item, int) and not isinstance(item, bool) and 0 <= item < size]


def _one(value: object, size: int) -> int | None:
    return next(iter(_many(value, size)), None)
