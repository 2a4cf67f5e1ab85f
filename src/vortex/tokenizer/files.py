"""What a tokenizer is on disk: `tokenizer.json` (Hugging Face's format) beside `tokenizer_settings.json` (ours).

A packed model folder stores both, so that a later start reads neither a GGUF vocabulary nor a model's own
configuration files. Does not build a tokenizer (house.py) and reads no foreign format (gguf.py, huggingface.py).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from vortex.errors import ModelFileError
from vortex.records.atomic import atomic_write
from vortex.records.foreign import ForeignValues, read_json_object

TOKENIZER_FILE = "tokenizer.json"
SETTINGS_FILE = "tokenizer_settings.json"
FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizerSettings:
    """What `tokenizer.json` does not say.

    `end_ids` end an answer. `add_bos` says whether the model was trained with `bos_id` in front of every text.
    `chat_templates` maps "default", "tool_use", … to Jinja sources; empty: the model has none. `special_tokens` holds
    the strings a template may use: bos_token, eos_token, unk_token, pad_token.
    """

    bos_id: int | None = None
    eos_id: int | None = None
    end_ids: tuple[int, ...] = ()
    add_bos: bool = False
    chat_templates: Mapping[str, str] = field(default_factory=dict)
    special_tokens: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TokenizerFiles:
    """The two files in memory. `tokenizer_json` is UTF-8 text as bytes."""

    tokenizer_json: bytes
    settings: TokenizerSettings

    def save(self, folder: Path) -> None:
        """Write both files atomically; the settings last, since their presence marks a whole pair."""
        with atomic_write(folder / TOKENIZER_FILE) as file:
            file.write(self.tokenizer_json)
        text = json.dumps({"format": FORMAT, **asdict(self.settings)}, ensure_ascii=False, indent=1)
        with atomic_write(folder / SETTINGS_FILE) as file:
            file.write(text.encode())

    @classmethod
    def load(cls, folder: Path) -> TokenizerFiles:
        """Raises ModelFileError where the pair is missing, damaged or of another version of the format."""
        try:
            values = read_json_object(folder / SETTINGS_FILE)
            if values.raw("format") != FORMAT:
                raise ModelFileError(f"{folder / SETTINGS_FILE} was written by another version; remove {folder}")
            settings = TokenizerSettings(
                bos_id=None if values.raw("bos_id") is None else values.whole("bos_id"),
                eos_id=None if values.raw("eos_id") is None else values.whole("eos_id"),
                end_ids=tuple(values.wholes("end_ids")),
                add_bos=values.flag("add_bos", False),
                chat_templates=_texts(values.nested("chat_templates")),
                special_tokens=_texts(values.nested("special_tokens")),
            )
            if unknown := values.unread():
                raise ModelFileError(f"unknown fields: {', '.join(unknown[:5])}")
            return cls((folder / TOKENIZER_FILE).read_bytes(), settings)
        except (OSError, ModelFileError) as error:
            raise ModelFileError(f"the tokenizer in {folder} cannot be read ({error}); remove that folder") from error


def _texts(values: ForeignValues) -> dict[str, str]:
    return {key: values.text(key) for key in values.values_by_key}
