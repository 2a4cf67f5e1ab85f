"""Any causal language model of the transformers library as a LanguageModel.

All spans of a sweep ride in one forward, so the weights are read once for them; a model whose attention cannot be kept
apart that way takes a forward per span (`how` says which). Caches of keys and values are cut on commit and copied for
snapshots. What was promised is tried out on the loaded model: `examine` compares it with transformers' own forward,
and a row swept alone with the same row among others; `exactness` is what was seen. Models that remember by a recurrent
state are refused (hf/opening.py).

On a CPU and on CUDA. Paged (vortex.c3.attach) or resident.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from vortex.c3.torch.attachment import Attachment
from vortex.errors import BackendError, ContextOverflow, MissingCapability
from vortex.models.hf.adapters import HfAdapters
from vortex.models.hf.rows import Rows, make_steady, steady_mode
from vortex.models.hf.spans import (
    NAME,
    Joined,
    JoinedCache,
    OwnCache,
    SpanStore,
    Stretch,
    can_join,
    layer_windows,
    own_attention,
)
from vortex.spans import num_hidden, num_logits, slices_of
from vortex.types import Exactness, Span, SweepCost, SweepOutput

PREFILL_CHUNK = {"cpu": 128, "cuda": 256}
ALIKE = 0.99  # correlation of logits that the same tokens must reach
EXAMINED_ROWS = (1, 20)  # a token, and a prompt's chunk, beside the row that is compared


class HfState:
    """Committed length over a cache; what lies behind it is a draft."""

    def __init__(self, store: SpanStore | OwnCache, length: int = 0) -> None:
        self._store: SpanStore | OwnCache | None = store
        self._length, self._pending = length, 0

    @property
    def length(self) -> int:
        return self._length

    @property
    def resident_bytes(self) -> int:
        return self._store.resident_bytes if self._store else 0

    @property
    def store(self) -> Any:
        assert self._store is not None, "a closed state cannot be swept"
        return self._store

    def begin(self, num_tokens: int) -> None:
        self.store.begin(self._length)
        self._pending = num_tokens

    def commit(self, num_tokens: int) -> None:
        assert 0 <= num_tokens <= self._pending, f"commit of {num_tokens} after a span of {self._pending}"
        self._length += num_tokens
        self._pending = 0

    def snapshot(self) -> HfState:
        return HfState(self.store.copy(self._length), self._length)

    def close(self) -> None:
        if self._store is not None:
            self._store.close()
        self._store = None


class HfModel:
    """A LanguageModel over a loaded transformers model, which it owns. One thread sweeps it.

    attachment: what pages its weights, or None. context_limit: 0: the model's own. examine: try out what is promised
    (a few forwards); without it the model is swept a span at a time.
    """

    def __init__(
        self, model: Any, *, attachment: Attachment | None = None, context_limit: int = 0, examine: bool = True
    ) -> None:
        self.model = model.eval()
        self.attachment = attachment
        config = model.config.get_text_config()
        self.config = config
        own = getattr(config, "max_position_embeddings", None) or getattr(config, "n_positions", None)
        self.context_length: int | None = min(own, context_limit) if own and context_limit else own or context_limit
        self.context_length = self.context_length or None
        head = model.get_output_embeddings()
        self.vocab_size = int(config.vocab_size if head is None else head.weight.shape[0])
        self.device = _device_of(model)
        self.prefill_chunk = PREFILL_CHUNK.get(self.device.type, 128)
        self.draft_heads = 0
        self.exactness = Exactness.ARGMAX
        self._parameters = inspect.signature(model.forward).parameters
        self._cache_name = "cache" if "cache" in self._parameters else "past_key_values"
        self._own = model.config._attn_implementation
        self._inner = own_attention(self._own)
        self._windows = layer_windows(config)
        self._rows = Rows()
        self.joins = False
        self._hidden: torch.Tensor | None = None
        self._adapters = HfAdapters(model)
        base = model.base_model
        self._hook = base.register_forward_hook(self._catch) if base is not model else None
        self._resident_bytes = sum(p.nbytes for p in model.parameters() if p.device.type != "meta")
        self._weights = sum(p.numel() for p in model.parameters())
        if examine:
            self._examine()

    @property
    def how(self) -> str:
        """In words, for people."""
        return f"one forward for all spans, rows {self._rows.mode}" if self.joins else "a forward per span"

    def adapter_targets(self) -> Mapping[str, tuple[int, int]]:
        return self._adapters.targets()

    def new_state(self) -> HfState:
        return HfState(SpanStore() if self.joins else OwnCache())

    @torch.inference_mode()
    def sweep(self, spans: Sequence[Span]) -> SweepOutput:
        self._begin(spans)
        order = sorted(range(len(spans)), key=lambda index: len(spans[index].token_ids))  # rows.py: small ones first
        logits, hidden = self._joined(spans, order) if self.joins else self._one_by_one(spans, order)
        width = hidden[0].shape[-1] if hidden else 0
        return SweepOutput(
            np.concatenate(logits) if logits else np.empty((0, self.vocab_size), np.float32),
            slices_of([len(rows) for rows in logits]),
            np.concatenate(hidden) if width and any(map(len, hidden)) else None,
            slices_of([len(rows) for rows in hidden]),
        )

    def sweep_cost(self, spans: Sequence[Span]) -> SweepCost:
        num_rows = sum(len(span.token_ids) for span in spans)
        fetched = self.attachment.bytes_to_fetch if self.attachment else 0
        weights = self._resident_bytes + (self.attachment.weight_bytes if self.attachment else 0)
        forwards = 1 if self.joins else len(spans)
        read = forwards * weights + sum(span.state.resident_bytes for span in spans)
        return SweepCost(forwards * fetched, read, 2 * num_rows * self._weights)

    def counters(self) -> Mapping[str, float]:
        """Totals of paging since the start; empty where all weights are resident."""
        return self.attachment.counters() if self.attachment else {}

    def close(self) -> None:
        if self._hook is not None:
            self._hook.remove()
        self._adapters.close()
        if self.attachment is not None:
            self.attachment.close()
        self.model = None

    # --- one forward for all -----------------------------------------------------------------------------------------

    def _joined(self, spans: Sequence[Span], order: Sequence[int]) -> tuple[list[np.ndarray], list[np.ndarray]]:
        stretches: list[Stretch] = []
        ids: list[int] = []
        positions: list[int] = []
        ends = [0] * len(spans)
        for index in order:
            span, first, start = spans[index], len(ids), spans[index].state.length
            end = start + len(span.token_ids)
            ids += list(span.token_ids)
            positions += range(start, end)
            ends[index] = len(ids)
            stretches.append(Stretch(_state(span).store, slice(first, len(ids)), start, end))
        by_wanted = sorted(order, key=lambda index: num_logits(spans[index]))  # the head's small ones first, too
        counts = [num_logits(spans[index]) for index in by_wanted]
        lengths = [len(spans[index].token_ids) for index in order]
        self._rows.cut(lengths, counts)
        wanted = [row for index in by_wanted for row in range(ends[index] - num_logits(spans[index]), ends[index])]
        carried = [(stretch.rows, spans[index].adapter) for stretch, index in zip(stretches, order, strict=True)]
        self._adapters.carry(carried)
        cache = JoinedCache(Joined(stretches, self._inner, self._windows))
        out, hidden = self._forward(ids, cache, wanted, positions=positions)
        logits_by_span = _split(out, counts, by_wanted)
        if not any(map(num_hidden, spans)):
            return logits_by_span, []
        parts = _split(_numpy(self._needs(hidden)), lengths, order)
        return logits_by_span, [part[: num_hidden(span)] for part, span in zip(parts, spans, strict=True)]

    # --- a forward per span ------------------------------------------------------------------------------------------

    def _one_by_one(self, spans: Sequence[Span], order: Sequence[int]) -> tuple[list[np.ndarray], list[np.ndarray]]:
        logits: list[np.ndarray] = [np.empty((0, self.vocab_size), np.float32)] * len(spans)
        hidden: list[np.ndarray] = [np.empty((0, 0), np.float32)] * len(spans)
        for index in order:
            span, count = spans[index], len(spans[index].token_ids)
            wanted = range(count - num_logits(span), count)
            self._rows.cut([count], [len(wanted)])
            self._adapters.carry([(slice(0, count), span.adapter)])
            logits[index], last_hidden = self._forward(span.token_ids, _state(span).store.cache, list(wanted))
            if num_hidden(span):
                hidden[index] = _numpy(self._needs(last_hidden))
        if not any(map(num_hidden, spans)):
            return logits, []
        width = max(part.shape[-1] for part in hidden)
        return logits, [part.reshape(-1, width) for part in hidden]

    def _forward(
        self, token_ids: Sequence[int], cache: Any, wanted: Sequence[int], positions: Sequence[int] | None = None
    ) -> tuple[np.ndarray, torch.Tensor | None]:
        """Logits of the wanted rows, float32 [wanted, vocab], and all rows after the last norm, [rows, width]."""
        inputs: dict[str, Any] = {
            "input_ids": torch.tensor([list(token_ids)], device=self.device),
            self._cache_name: cache,
            "use_cache": True,
        }
        rows = torch.tensor(wanted, dtype=torch.int64, device=self.device)
        if positions is not None:
            inputs["position_ids"] = torch.tensor([list(positions)], device=self.device)
        keeps = "logits_to_keep" in self._parameters
        if keeps:
            inputs["logits_to_keep"] = rows
        self._hidden = None
        output = self.model(**inputs)
        logits = output.logits[0] if keeps else output.logits[0][rows]
        hidden, self._hidden = self._hidden, None
        return _numpy(logits), None if hidden is None else hidden[0]

    def _catch(self, _: Any, __: Any, output: Any) -> None:
        self._hidden = getattr(output, "last_hidden_state", None)

    def _needs(self, hidden: torch.Tensor | None) -> torch.Tensor:
        if hidden is None:
            raise MissingCapability(f"{type(self.model).__name__} does not show its hidden rows: no embeddings")
        return hidden

    def _begin(self, spans: Sequence[Span]) -> None:
        assert spans, "a sweep needs a span"
        if self.model is None:
            raise BackendError("the model is closed")
        for span in spans:
            end = span.state.length + len(span.token_ids)
            assert span.token_ids, "a span needs a token"
            assert 0 <= min(span.token_ids) <= max(span.token_ids) < self.vocab_size, "an id outside the vocabulary"
            if self.context_length is not None and end > self.context_length:
                raise ContextOverflow(f"{end} tokens do not fit the context of {self.context_length}")
            _state(span).begin(len(span.token_ids))

    # --- what is promised, tried out ---------------------------------------------------------------------------------

    def _examine(self) -> None:
        """Join spans if that gives what the model gives; then see whether a row is its own affair."""
        if not can_join(self.model, self._parameters):
            return
        self._rows.mode = steady_mode(self.model)
        if self.attachment is not None:
            self.attachment.weights.learn_order()
        truth = self._probe([5, 20])
        make_steady(self.model, self._rows)
        self.model.set_attn_implementation(NAME)
        self.joins = self.model.config._attn_implementation == NAME
        if self.joins and not _alike(truth, self._probe([5, 20])):
            self.model.set_attn_implementation(self._own)
            self.joins = False
        self.exactness = Exactness.ARGMAX if self._rows_are_steady() else Exactness.DISTRIBUTION

    def _probe(self, lengths: Sequence[int], twice: bool = False) -> np.ndarray:
        """Last logits of spans of these lengths in one sweep; the first goes on for one token, in one more sweep."""
        ids = [(7 * position + 3) % self.vocab_size for position in range(64)]
        states = [self.new_state() for _ in lengths]
        spans = [Span(state, ids[:length]) for state, length in zip(states, lengths, strict=True)]
        limit = self.context_length or 64
        spans = [Span(span.state, span.token_ids[:limit]) for span in spans]
        logits = self.sweep(spans).logits
        if twice:
            for span in spans:
                span.state.commit(len(span.token_ids) if span is not spans[0] else min(4, limit))
            step = [Span(state, ids[:1]) for state in states]
            logits = np.concatenate([logits, self.sweep(step).logits])[[0, len(lengths)]]
        for state in states:
            state.close()
        return logits

    def _rows_are_steady(self) -> bool:
        alone, among = self._probe([5], twice=True), self._probe([5, *EXAMINED_ROWS, 3], twice=True)
        return np.array_equal(alone, among)


def _state(span: Span) -> HfState:
    assert isinstance(span.state, HfState), "a state of another model"
    return span.state


def _numpy(rows: torch.Tensor) -> np.ndarray:
    array: np.ndarray = rows.float().cpu().numpy()
    return array


def _split(rows: np.ndarray, counts: Sequence[int], order: Sequence[int]) -> list[np.ndarray]:
    """Parts of `rows`, which follow `order`, back in the order of the spans."""
    parts: list[np.ndarray] = [rows[:0]] * len(order)
    start = 0
    for index, count in zip(order, counts, strict=True):
        parts[index] = rows[start : start + count]
        start += count
    return parts


def _alike(left: np.ndarray, right: np.ndarray) -> bool:
    """Whether logits are the same but for rounding, row by row."""
    rows = [np.corrcoef(a, b)[0, 1] for a, b in zip(left, right, strict=True)]
    return bool(np.isfinite(left).all() and np.isfinite(right).all() and min(rows) > ALIKE)


def _device_of(model: Any) -> torch.device:
    devices = [parameter.device for parameter in model.parameters() if parameter.device.type != "meta"]
    return devices[0] if devices else torch.device("cpu")
