"""From the `tokenizer.*` fields of a GGUF file to a `tokenizer.json` and its settings.

Two vocabularies are understood: `gpt2` (byte-level BPE, its merges listed) and `llama` (SentencePiece BPE, its merges
implied by scores). Takes plain Python values by field name; does not read files. Source of the field names: ggml's
docs/gguf.md.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vortex.errors import ModelFileError, UnsupportedModel
from vortex.records import foreign
from vortex.records.foreign import ForeignValues
from vortex.tokenizer.end_tokens import end_token_ids
from vortex.tokenizer.files import TokenizerFiles, TokenizerSettings
from vortex.tokenizer.pretokenizers import pre_tokenizer, pre_tokenizer_json
from vortex.tokenizer.sentencepiece import sentencepiece_merges, sentencepiece_rules

PREFIX = "tokenizer.ggml."
MOST_CUT_CHARACTERS = 1 << 30  # of all pieces cut in two at every place; a large vocabulary has 2% of that
UNSET = 2**32 - 1  # -1 as some writers spell it
LONGEST_TOKEN = 4096  # characters; the longest known ones are runs of a few hundred spaces
NORMAL, UNKNOWN, CONTROL, USER_DEFINED = 1, 2, 3, 4
_SPECIAL_IDS = {"bos_token": "bos", "eos_token": "eos", "unk_token": "unknown", "pad_token": "padding"}


@dataclass(frozen=True, slots=True)
class GgufVocabulary:
    """The fields a tokenizer is made of. `types[i]` and `scores[i]` belong to `tokens[i]`."""

    model: str
    pre: str
    tokens: list[str]
    types: list[int]
    scores: list[float]
    merges: list[str]
    fields: Mapping[str, Any]

    @classmethod
    def from_fields(cls, fields: Mapping[str, Any]) -> GgufVocabulary:
        """Raises ModelFileError where there is no vocabulary or its lists disagree in length."""
        values = ForeignValues(fields, "the GGUF file", PREFIX)
        tokens = values.texts("tokens", [], longest=LONGEST_TOKEN)
        if not tokens:
            raise ModelFileError("the GGUF file holds no vocabulary (tokenizer.ggml.tokens); use a complete model file")
        types = values.wholes("token_type", []) or [NORMAL] * len(tokens)
        scores = values.reals("scores", []) or [0.0] * len(tokens)
        if len(types) != len(tokens) or len(scores) != len(tokens):
            raise ModelFileError(
                f"the GGUF vocabulary is inconsistent: {len(tokens)} tokens, {len(types)} types, {len(scores)} scores"
            )
        merges = values.texts("merges", [], longest=2 * LONGEST_TOKEN + 1)
        model, pre = values.text("model", "", most=256), values.text("pre", "default", most=256)
        return cls(model, pre, tokens, types, scores, merges, fields)

    def flag(self, name: str, default: bool) -> bool:
        return ForeignValues(self.fields, "the GGUF file", PREFIX).flag(name, default)

    def token_id(self, role: str) -> int | None:
        """The id of a role (bos, eos, eot, …), or None. Raises ModelFileError where it is outside the vocabulary."""
        values = ForeignValues(self.fields, "the GGUF file", PREFIX)
        value = values.whole(f"{role}_token_id", -1, least=-1, most=UNSET)
        if value == UNSET:
            return None
        if value >= len(self.tokens):
            raise ModelFileError(f"the GGUF file's {role} token {value} is outside its {len(self.tokens)} tokens")
        return None if value < 0 else value


def tokenizer_files_from_gguf(fields: Mapping[str, Any]) -> TokenizerFiles:
    """The tokenizer of a GGUF file's metadata (field name → str, number, bool or list).

    Raises ModelFileError for a broken vocabulary, UnsupportedModel for a kind that is not known here.
    """
    vocabulary = GgufVocabulary.from_fields(fields)
    builders = {"gpt2": _byte_level_json, "llama": _sentencepiece_json}
    if vocabulary.model not in builders:
        raise UnsupportedModel(
            f"GGUF tokenizers of kind {vocabulary.model!r} are not supported (only gpt2 and llama); "
            "use the model's safetensors folder instead"
        )
    parts = builders[vocabulary.model](vocabulary)
    document = {"version": "1.0", "truncation": None, "padding": None, "post_processor": None, **parts}
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
    return TokenizerFiles(text.encode("utf-8", errors="replace"), _settings(vocabulary))


def _byte_level_json(vocabulary: GgufVocabulary) -> dict[str, Any]:
    rule = pre_tokenizer(vocabulary.pre)
    return {
        "added_tokens": _added_tokens(vocabulary),
        "normalizer": {"type": "NFC"} if rule.nfc else None,
        "pre_tokenizer": pre_tokenizer_json(rule),
        "decoder": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False},
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": rule.ignore_merges,
            "vocab": _first_ids(vocabulary.tokens),
            "merges": vocabulary.merges,
        },
    }


def _sentencepiece_json(vocabulary: GgufVocabulary) -> dict[str, Any]:
    unknown = vocabulary.token_id("unknown")
    mergeable = {
        text: token_id
        for token_id, (text, kind) in enumerate(zip(vocabulary.tokens, vocabulary.types, strict=True))
        if kind == NORMAL
    }
    if sum(len(text) ** 2 for text in mergeable) > MOST_CUT_CHARACTERS:
        raise ModelFileError("the GGUF file's tokens are too long for a vocabulary; download it again")
    return {
        "added_tokens": _added_tokens(vocabulary),
        **sentencepiece_rules(add_space_prefix=vocabulary.flag("add_space_prefix", True)),
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None if unknown is None else vocabulary.tokens[unknown],
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": True,
            "byte_fallback": True,
            "ignore_merges": False,
            "vocab": _first_ids(vocabulary.tokens),
            "merges": sentencepiece_merges(mergeable, vocabulary.scores),
        },
    }


def _first_ids(tokens: list[str]) -> dict[str, int]:
    """Text → id; of two tokens with one text the first keeps it, and the second is never produced."""
    ids: dict[str, int] = {}
    for token_id, text in enumerate(tokens):
        ids.setdefault(text, token_id)
    return ids


def _added_tokens(vocabulary: GgufVocabulary) -> list[dict[str, Any]]:
    """Tokens found in a text before it is cut: control tokens (special) and user-defined ones (ordinary text)."""
    return [
        {
            "id": token_id,
            "content": text,
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            "normalized": False,
            "special": kind != USER_DEFINED,
        }
        for token_id, (text, kind) in enumerate(zip(vocabulary.tokens, vocabulary.types, strict=True))
        if kind in (UNKNOWN, CONTROL, USER_DEFINED) and text
    ]


def _settings(vocabulary: GgufVocabulary) -> TokenizerSettings:
    control = {
        text: token_id
        for token_id, (text, kind) in enumerate(zip(vocabulary.tokens, vocabulary.types, strict=True))
        if kind == CONTROL
    }
    sentencepiece = vocabulary.model == "llama"
    add_bos_default = sentencepiece or pre_tokenizer(vocabulary.pre).add_bos
    ids = {name: vocabulary.token_id(role) for name, role in _SPECIAL_IDS.items()}
    return TokenizerSettings(
        bos_id=ids["bos_token"],
        eos_id=ids["eos_token"],
        end_ids=end_token_ids(control, (ids["eos_token"], vocabulary.token_id("eot"), vocabulary.token_id("eom"))),
        add_bos=vocabulary.flag("add_bos_token", add_bos_default),
        chat_templates=_chat_templates(vocabulary.fields),
        special_tokens={name: vocabulary.tokens[i] for name, i in ids.items() if i is not None},
    )


def _chat_templates(fields: Mapping[str, Any]) -> dict[str, str]:
    prefix = "tokenizer.chat_template"
    templates = {
        key.removeprefix(prefix).removeprefix(".") or "default": foreign.text(text, f"the GGUF file's {key}")
        for key, text in fields.items()
        if key == prefix or key.startswith(prefix + ".")
    }
    return {name: text for name, text in templates.items() if text}
