"""How byte-level BPE models cut a text before merging, by the name a GGUF file gives it (`tokenizer.ggml.pre`).

Each entry is a list of regular expressions applied one after the other: every match becomes a piece of its own, and
the next expression cuts the pieces further. The expressions are those of the models' own tokenizer files. A name that
is not here is refused: a wrong cut would give plausible but wrong tokens.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from vortex.errors import UnsupportedModel

_SUFFIXES = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_REST = r"\s*[\r\n]+|\s+(?!\S)|\s+"
_UPPER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]"
_LOWER = r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_EDGE = r"[^\r\n\p{L}\p{N}]?"
_SYMBOLS = r" ?[^\s\p{L}\p{N}]+[\r\n]*"
_SYMBOLS_AND_SLASH = r" ?[^\s\p{L}\p{N}]+[\r\n/]*"

_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_LLAMA3 = rf"{_SUFFIXES}|{_EDGE}\p{{L}}+|\p{{N}}{{1,3}}|{_SYMBOLS}|{_REST}"
_QWEN2 = rf"{_SUFFIXES}|{_EDGE}\p{{L}}+|\p{{N}}|{_SYMBOLS}|{_REST}"
_QWEN35 = rf"{_SUFFIXES}|{_EDGE}[\p{{L}}\p{{M}}]+|\p{{N}}| ?[^\s\p{{L}}\p{{M}}\p{{N}}]+[\r\n]*|{_REST}"
_TEKKEN = rf"{_EDGE}{_UPPER}*{_LOWER}+|{_EDGE}{_UPPER}+{_LOWER}*|\p{{N}}|{_SYMBOLS_AND_SLASH}|{_REST}"
_GPT4O = (
    rf"{_EDGE}{_UPPER}*{_LOWER}+{_SUFFIXES}?|{_EDGE}{_UPPER}+{_LOWER}*{_SUFFIXES}?"
    rf"|\p{{N}}{{1,3}}|{_SYMBOLS_AND_SLASH}|{_REST}"
)
_DEEPSEEK3 = (
    r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"""
    rf"| ?[\p{{P}}\p{{S}}]+[\r\n]*|{_REST}"
)


@dataclass(frozen=True, slots=True)
class PreTokenizer:
    """`ignore_merges`: a piece that is a whole token is taken as it is. `nfc`: text is composed first (Unicode NFC).
    `add_bos`: what holds where the file does not say."""

    patterns: tuple[str, ...]
    ignore_merges: bool = False
    nfc: bool = False
    add_bos: bool = False


_FAMILIES: dict[PreTokenizer, str] = {
    PreTokenizer((r"[\p{P}\$\+<=>\^~\|]+", _GPT2, r"\p{N}+", r"[0-9][0-9][0-9]")): "default",
    PreTokenizer((_GPT2,)): "gpt-2 phi-2 mpt olmo jais trillion granite-docling",
    PreTokenizer((r"\p{N}", _GPT2)): "smollm starcoder refact command-r codeshell exaone minerva-7b mellum2",
    PreTokenizer((_LLAMA3,), ignore_merges=True, add_bos=True): "llama-bpe llama3 llama-v3 falcon3 pixtral lfm2",
    PreTokenizer((_LLAMA3,)): "dbrx smaug-bpe glm4 chatglm-bpe",
    PreTokenizer((_QWEN2,), nfc=True): "qwen2 deepseek-r1-qwen",
    PreTokenizer((_QWEN2,)): "stablelm2 hunyuan megrez grok-2",
    PreTokenizer((_QWEN35,), nfc=True): "qwen35",
    PreTokenizer((_TEKKEN,), ignore_merges=True, add_bos=True): "tekken",
    PreTokenizer((_GPT4O,)): "gpt-4o llama4 minimax-m2",
    PreTokenizer((r"\p{N}{1,3}", "[一-龥぀-ゟ゠-ヿ]+", _DEEPSEEK3)): "deepseek-v3 hunyuan-dense",
    PreTokenizer(
        (r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", r"[一-龥ࠀ-一가-퟿]+", r"\p{N}"),
    ): "deepseek-coder",
    PreTokenizer((r"[\p{P}\$\+<=>\^~\|`]+", _GPT2, r"[0-9][0-9][0-9]")): "falcon",
}
PRE_TOKENIZERS = {name: rule for rule, names in _FAMILIES.items() for name in names.split()}


def pre_tokenizer(name: str) -> PreTokenizer:
    """Raises UnsupportedModel for a name that is not in the table."""
    if name not in PRE_TOKENIZERS:
        known = ", ".join(sorted(PRE_TOKENIZERS))
        raise UnsupportedModel(
            f"this model cuts text by the rule {name!r}, which is not known here (known: {known}); "
            "use the model's safetensors folder, whose tokenizer.json carries its own rule"
        )
    return PRE_TOKENIZERS[name]


def pre_tokenizer_json(rule: PreTokenizer) -> dict[str, Any]:
    """The rule in the form `tokenizer.json` holds it: the cuts, then bytes written as printable characters."""
    cuts = [{"type": "Split", "pattern": {"Regex": p}, "behavior": "Isolated", "invert": False} for p in rule.patterns]
    to_bytes = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    return {"type": "Sequence", "pretokenizers": [*cuts, to_bytes]}
