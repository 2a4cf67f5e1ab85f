"""Many sequences in one forward of a transformers model: their tokens side by side in one row, attention kept apart.

Registered with transformers as an attention function of its own (`NAME`): it hands each span's queries, with that
sequence's keys and values, to the attention function the model came with. `can_join` says for which models that is
right; all others are swept a span at a time with transformers' own cache (`OwnCache`), which is right for any model.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import torch
from transformers import AttentionInterface
from transformers.cache_utils import Cache, DynamicCache

NAME = "vortex_spans"
STEP_TOKENS = 256
KNOWN_LAYERS = {"full_attention", "sliding_attention"}
SHIFTING_ROTARY = {"dynamic", "longrope"}  # their angles depend on the longest sequence of the batch


class SpanStore:
    """Keys and values of one sequence, per layer [1, heads, capacity, width]. Grows in steps."""

    def __init__(self) -> None:
        self._keys: dict[int, torch.Tensor] = {}
        self._values: dict[int, torch.Tensor] = {}

    @property
    def resident_bytes(self) -> int:
        return sum(tensor.nbytes for tensor in (*self._keys.values(), *self._values.values()))

    def begin(self, length: int) -> None:
        """Rows from `length` on do not count: they are written over."""

    def put(self, layer: int, start: int, keys: torch.Tensor, values: torch.Tensor) -> None:
        end = start + keys.shape[2]
        for held, new in ((self._keys, keys), (self._values, values)):
            if layer not in held or held[layer].shape[2] < end:
                held[layer] = _grown(held.get(layer), new, start, end)
            held[layer][:, :, start:end] = new

    def view(self, layer: int, first: int, end: int) -> tuple[torch.Tensor, torch.Tensor]:
        return self._keys[layer][:, :, first:end], self._values[layer][:, :, first:end]

    def copy(self, length: int) -> SpanStore:
        other = SpanStore()
        other._keys = {layer: tensor[:, :, :length].clone() for layer, tensor in self._keys.items()}
        other._values = {layer: tensor[:, :, :length].clone() for layer, tensor in self._values.items()}
        return other

    def close(self) -> None:
        self._keys, self._values = {}, {}


def _grown(old: torch.Tensor | None, like: torch.Tensor, kept: int, needed: int) -> torch.Tensor:
    """Room for at least `needed` rows, twice of what there was; the first `kept` are the old ones."""
    capacity = max(needed, 0 if old is None else 2 * old.shape[2])
    capacity += -capacity % STEP_TOKENS
    fresh = like.new_empty(*like.shape[:2], capacity, like.shape[3])
    if old is not None:
        fresh[:, :, :kept] = old[:, :, :kept]
    return fresh


class OwnCache:
    """The same of a model that is swept a span at a time: a DynamicCache of transformers, cut to what is committed."""

    def __init__(self) -> None:
        self.cache = DynamicCache()

    @property
    def resident_bytes(self) -> int:
        return sum(layer.keys.nbytes + layer.values.nbytes for layer in self._layers())

    def begin(self, length: int) -> None:
        for layer in self._layers():
            layer.keys, layer.values = layer.keys[:, :, :length], layer.values[:, :, :length]

    def copy(self, length: int) -> OwnCache:
        other = OwnCache()
        if length:
            for index, layer in enumerate(self._layers()):
                other.cache.update(layer.keys[:, :, :length].clone(), layer.values[:, :, :length].clone(), index)
        return other

    def close(self) -> None:
        self.cache = DynamicCache()

    def _layers(self) -> list[Any]:
        return [layer for layer in self.cache.layers if layer.keys is not None]


@dataclass(frozen=True, slots=True)
class Stretch:
    """One span in the joined row: its rows there, and where they stand in their sequence."""

    store: SpanStore
    rows: slice
    start: int
    end: int


@dataclass(slots=True)
class Joined:
    """The spans of one forward. inner: gives the model's own attention function for one of its modules."""

    stretches: Sequence[Stretch]
    inner: Callable[[Any], Callable[..., Any]]
    windows: Sequence[int]  # per layer; 0: sees everything


_joined: ContextVar[Joined] = ContextVar("joined")


class JoinedCache(Cache):
    """What a model takes for its cache: puts every stretch's keys and values into the store of its sequence."""

    def __init__(self, joined: Joined) -> None:
        super().__init__(layers=[])
        self._stretches = joined.stretches
        _joined.set(joined)

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, layer_idx: int, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        for stretch in self._stretches:
            keys, values = key_states[:, :, stretch.rows], value_states[:, :, stretch.rows]
            stretch.store.put(layer_idx, stretch.start, keys, values)
        return key_states, value_states

    def get_seq_length(self, *_: Any, **__: Any) -> int:
        """Positions are given with the tokens; nothing is read from here."""
        return 0


def joined_attention(
    module: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, attention_mask: Any, **options: Any
) -> tuple[torch.Tensor, None]:
    """Attention of all stretches, [1, rows, heads, width]; keys and values come from the stores."""
    joined = _joined.get()
    attend = joined.inner(module)
    window = options.get("sliding_window") or joined.windows[module.layer_idx]
    outputs = []
    for stretch in joined.stretches:
        first = max(0, stretch.start + 1 - window) if window else 0
        keys, values = joined_view(stretch, module.layer_idx, first)
        mask = _mask(stretch, first, window, query, as_bias=attend.__name__ != "sdpa_attention_forward")
        outputs.append(attend(module, query[:, :, stretch.rows], keys, values, mask, **options)[0])
    return outputs[0] if len(outputs) == 1 else torch.cat(outputs, dim=1), None


def joined_view(stretch: Stretch, layer: int, first: int) -> tuple[torch.Tensor, torch.Tensor]:
    return stretch.store.view(layer, first, stretch.end)


def _mask(stretch: Stretch, first: int, window: int, like: torch.Tensor, *, as_bias: bool) -> torch.Tensor | None:
    """[1, 1, queries, keys]: True (or 0) where a query may look. None where it may look at all of them."""
    if stretch.end - stretch.start == 1:
        return None
    queries = torch.arange(stretch.start, stretch.end, device=like.device)[:, None]
    keys = torch.arange(first, stretch.end, device=like.device)[None]
    seen = keys <= queries
    if window:
        seen &= keys > queries - window
    seen = seen[None, None]
    if not as_bias:
        return seen
    return torch.zeros(seen.shape, dtype=like.dtype, device=like.device).masked_fill_(
        ~seen, torch.finfo(like.dtype).min
    )


def own_attention(implementation: str) -> Callable[[Any], Callable[..., Any]]:
    """The attention function that a module of a model would call under this implementation."""
    if implementation == "eager":
        return lambda module: vars(sys.modules[type(module).__module__])["eager_attention_forward"]
    function = AttentionInterface().get(implementation)
    return lambda _: function


def layer_windows(config: Any) -> list[int]:
    """Per layer, how many tokens it looks back; 0: all of them."""
    count = config.num_hidden_layers
    window = getattr(config, "sliding_window", None) or 0
    kinds = getattr(config, "layer_types", None)
    if kinds:
        return [window if kind == "sliding_attention" else 0 for kind in kinds]
    return [window if getattr(config, "use_sliding_window", True) else 0] * count


def can_join(model: Any, parameters: Mapping[str, Any]) -> bool:
    """Whether attention can be replaced without a change of meaning. parameters: of the model's forward."""
    config = model.config
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
    rotary = _rotary_kinds(getattr(config, "rope_parameters", None)) | _rotary_kinds(
        getattr(config, "rope_scaling", None)
    )
    return (
        bool(getattr(model, "_supports_attention_backend", False))
        and "position_ids" in parameters
        and model.config._attn_implementation in {"sdpa", "eager"}
        and kinds <= KNOWN_LAYERS
        and not rotary & SHIFTING_ROTARY
        and not getattr(config, "num_kv_shared_layers", 0)
        and not getattr(config, "alibi", False)
    )


def _rotary_kinds(values: Any) -> set[str]:
    if not isinstance(values, Mapping):
        return set()
    kind = values.get("rope_type") or values.get("type")
    nested = [_rotary_kinds(value) for value in values.values()]
    return set().union(*nested, {kind} if isinstance(kind, str) else set())


AttentionInterface.register(NAME, joined_attention)
