"""From a Hugging Face model folder to a tokenizer and its settings.

Reads `tokenizer.json`, `tokenizer_config.json`, `special_tokens_map.json`, `generation_config.json`, `config.json` and
`chat_template.jinja` / `chat_template.json`, where they exist. Runs no code of the folder. Does not read SentencePiece
model files (`tokenizer.model`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer as RustTokenizer

from vortex.errors import ModelFileError, UnsupportedModel
from vortex.tokenizer.end_tokens import end_token_ids
from vortex.tokenizer.files import TOKENIZER_FILE, TokenizerFiles, TokenizerSettings
from vortex.tokenizer.panics import panics_told

_ROLES = ("bos_token", "eos_token", "unk_token", "pad_token")


def tokenizer_files_from_folder(folder: Path) -> TokenizerFiles:
    """Raises UnsupportedModel where there is no `tokenizer.json`, ModelFileError for files that do not parse."""
    path = folder / TOKENIZER_FILE
    if not path.exists():
        raise UnsupportedModel(
            f"{folder} has no tokenizer.json; make one with transformers: "
            "AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER)"
        )
    data = path.read_bytes()
    try:
        with panics_told(f"{path} does not load"):
            vocabulary = RustTokenizer.from_buffer(data)
    except ModelFileError:
        raise
    except Exception as error:  # the library raises nothing more specific
        raise ModelFileError(f"{path} does not load: {error}; download it again") from error
    return TokenizerFiles(data, _settings(folder, vocabulary))


def _settings(folder: Path, vocabulary: RustTokenizer) -> TokenizerSettings:
    config = {**_read_object(folder / "special_tokens_map.json"), **_read_object(folder / "tokenizer_config.json")}
    generation = _read_object(folder / "generation_config.json")
    model = _read_object(folder / "config.json")
    special = {role: text for role in _ROLES if (text := _token_text(config.get(role))) is not None}
    ids = {role: vocabulary.token_to_id(text) for role, text in special.items()}
    bos_id = ids.get("bos_token", _one(model.get("bos_token_id")))
    eos_id = ids.get("eos_token", _one(model.get("eos_token_id")))
    added = {token.content: token_id for token_id, token in vocabulary.get_added_tokens_decoder().items()}
    named = [eos_id, *_many(generation.get("eos_token_id")), *_many(model.get("eos_token_id"))]
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
        templates.update({str(entry["name"]): str(entry["template"]) for entry in stored})
    alone = folder / "chat_template.jinja"
    if alone.exists():
        templates["default"] = alone.read_text(encoding="utf-8")
    for path in sorted((folder / "additional_chat_templates").glob("*.jinja")):
        templates[path.stem] = path.read_text(encoding="utf-8")
    return templates


def _read_object(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    try:
        value = json.loads(path.read_bytes())
    except ValueError as error:
        raise ModelFileError(f"{path} is not valid JSON ({error}); download it again") from error
    if not isinstance(value, dict):
        raise ModelFileError(f"{path} is not a JSON object; download it again")
    return value


def _token_text(value: object) -> str | None:
    """A token in a configuration is its text, or an object with its text under "content"."""
    if isinstance(value, dict):
        value = value.get("content")
    return value if isinstance(value, str) else None


def _many(value: object) -> list[int]:
    if isinstance(value, int):
        return [value]
    return [item for item in value if isinstance(item, int)] if isinstance(value, list) else []


def _one(value: object) -> int | None:
    return next(iter(_many(value)), None)
