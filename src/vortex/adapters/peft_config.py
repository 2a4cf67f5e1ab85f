"""`adapter_config.json` as peft writes it: what is understood is kept, what would change an answer else is refused.

Refused by name: DoRA, saved modules, trained biases and tokens, and every further kind of LoRA whose arithmetic is not
`y += alpha / r * b (a x)`; starts that also changed the model's own weights (PiSSA, OLoRA, LoftQ, …); and any setting
that is not known here and says something.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vortex.errors import AdapterError

CONFIG_FILE = "adapter_config.json"
MAX_CONFIG_BYTES = 1 << 20
MAX_RANK = 1024
MAX_SCALE = 1e4
MAX_PATTERNS, MAX_PATTERN_CHARS, MAX_REPEATS = 4096, 200, 4

HARMLESS = frozenset(
    {
        *("peft_type", "task_type", "auto_mapping", "base_model_name_or_path", "revision", "inference_mode"),
        *("peft_version", "r", "lora_alpha", "lora_dropout", "use_rslora", "rank_pattern", "alpha_pattern", "bias"),
        *("target_modules", "exclude_modules", "layers_to_transform", "layers_pattern", "init_lora_weights"),
        *("fan_in_fan_out", "megatron_core", "qalora_group_size", "runtime_config", "eva_config"),
    }
)
REFUSED = {
    "use_dora": "DoRA (use_dora), which rescales the model's own weights",
    "modules_to_save": "whole modules (modules_to_save)",
    "trainable_token_indices": "trained token embeddings (trainable_token_indices)",
    "lora_bias": "biases (lora_bias)",
    "use_qalora": "QALoRA (use_qalora), which pools the inputs",
    "layer_replication": "replicated layers (layer_replication)",
    "target_parameters": "parameters that are no linear layer, such as stacked experts (target_parameters)",
    "alora_invocation_tokens": "an activated LoRA (alora_invocation_tokens)",
}
PLAIN_STARTS = {True, False, None, "gaussian", "orthogonal", "eva", "mica"}


@dataclass(frozen=True, slots=True, kw_only=True)
class PeftConfig:
    """rank, alpha: of modules that no pattern names. base: the model it says it was made for."""

    rank: int
    alpha: float
    rslora: bool = False
    rank_pattern: Mapping[str, int] = field(default_factory=dict)
    alpha_pattern: Mapping[str, float] = field(default_factory=dict)
    base: str | None = None

    def rank_of(self, module: str) -> int:
        return self.rank_pattern.get(_matching(self.rank_pattern, module), self.rank)

    def scale_of(self, module: str) -> float:
        """alpha / rank, or alpha / sqrt(rank) for rank-stabilised LoRA (arXiv 2312.03732)."""
        alpha, rank = self.alpha_pattern.get(_matching(self.alpha_pattern, module), self.alpha), self.rank_of(module)
        return alpha / math.sqrt(rank) if self.rslora else alpha / rank


def read_peft_config(folder: Path) -> PeftConfig:
    """Raises AdapterError: not there, damaged, or of a kind that is not served."""
    path = folder / CONFIG_FILE
    try:
        with path.open("rb") as file:
            text = file.read(MAX_CONFIG_BYTES + 1)
        if len(text) > MAX_CONFIG_BYTES:
            raise ValueError("it is larger than a megabyte")
        values = json.loads(text)
        if not isinstance(values, dict):
            raise ValueError("it holds no object")
    except OSError as error:
        raise AdapterError(f"{folder} is no adapter: it has no readable {CONFIG_FILE} ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise AdapterError(f"{path} cannot be read ({error}); fetch the adapter again") from error
    return parse_peft_config(values, str(path))


def parse_peft_config(values: Mapping[str, Any], origin: str) -> PeftConfig:
    """Raises AdapterError, naming `origin`."""
    _refuse_other_kinds(values, origin)
    try:
        config = PeftConfig(
            rank=_rank(values.get("r", 8)),
            alpha=_number(values.get("lora_alpha", 8)),
            rslora=values.get("use_rslora") is True,
            rank_pattern={_pattern(key): _rank(rank) for key, rank in _items(values, "rank_pattern")},
            alpha_pattern={_pattern(key): _number(alpha) for key, alpha in _items(values, "alpha_pattern")},
            base=str(values["base_model_name_or_path"]) if values.get("base_model_name_or_path") else None,
        )
    except (ValueError, TypeError, AttributeError, re.error) as error:
        raise AdapterError(f"{origin}: {error}; it is not what peft writes") from error
    return config


def _refuse_other_kinds(values: Mapping[str, Any], origin: str) -> None:
    def refuse(what: str) -> None:
        raise AdapterError(f"{origin} asks for {what}; only plain LoRA on linear layers is served")

    if values.get("peft_type") != "LORA":
        refuse(f"the kind {values.get('peft_type')!r}")
    for key, what in REFUSED.items():
        if values.get(key):
            refuse(what)
    if values.get("bias", "none") != "none":
        refuse(f"trained biases (bias: {values['bias']})")
    start = values.get("init_lora_weights")
    if not isinstance(start, bool | str | None) or start not in PLAIN_STARTS:
        refuse(f"a start that changes the model's own weights (init_lora_weights: {start!r})")
    for key in sorted(values.keys() - HARMLESS - REFUSED.keys()):
        if values[key]:
            refuse(f"{key}, which is not known here")


def _items(values: Mapping[str, Any], key: str) -> list[tuple[str, Any]]:
    found = list((values.get(key) or {}).items())
    if len(found) > MAX_PATTERNS:
        raise ValueError(f"{key} has {len(found)} entries")
    return found


def _rank(value: Any) -> int:
    if type(value) is not int or not 1 <= value <= MAX_RANK:
        raise ValueError(f"a rank of {value!r} is not between 1 and {MAX_RANK}")
    return value


def _number(value: Any) -> float:
    if type(value) not in {int, float} or not math.isfinite(value) or abs(value) > MAX_SCALE:
        raise ValueError(f"an alpha of {value!r} is not between -{MAX_SCALE:g} and {MAX_SCALE:g}")
    return float(value)


def _pattern(pattern: str) -> str:
    """A regular expression whose search ends soon, whoever wrote it: no repeated groups, few repeats."""
    repeats = len(re.findall(r"[*+{]", pattern))
    if len(pattern) > MAX_PATTERN_CHARS or repeats > MAX_REPEATS or re.search(r"\)\s*[*+{?]", pattern):
        raise ValueError(f"the pattern {pattern[:40]!r} is too involved")
    re.compile(pattern)
    return pattern


def _matching(patterns: Mapping[str, Any], module: str) -> str:
    """The first pattern that matches the module's name or an end of it, as peft looks it up; the name itself if none
    does."""
    return next((key for key in patterns if re.match(rf"(.*\.)?({key})$", module)), module)
