"""One lean decoder for Llama-shaped models: spans in, logits out, whatever the compute.

Promises the LanguageModel contract: every span's rows depend on its own sequence alone; nothing is remembered but
what is committed. Does no arithmetic itself.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np

from vortex.errors import ContextOverflow, RequestError
from vortex.machine.sweep_clock import SweepClock
from vortex.models.decoder.adapter_parts import adapter_targets
from vortex.models.decoder.compute import Batch, Compute, KeptCache, KeyValueCache, RecurrentCache, Segment
from vortex.models.files.decoder_config import DecoderConfig
from vortex.spans import wanted_hidden, wanted_logits
from vortex.types import Exactness, SequenceState, Span, SweepCost, SweepOutput

PAGED_ROW_SHARE = 0.02  # reading from disk takes the time, until that is measured


class DecoderState:
    """A KV cache and how much of it counts. Rows beyond `length` are drafts: overwritten unless committed."""

    def __init__(self, cache: KeyValueCache, length: int = 0) -> None:
        self._cache: KeyValueCache | None = cache
        self._length = length
        self._pending = 0

    @property
    def length(self) -> int:
        return self._length

    @property
    def resident_bytes(self) -> int:
        return self._cache.resident_bytes if self._cache else 0

    @property
    def cache(self) -> KeyValueCache:
        assert self._cache is not None, "a closed state cannot be swept"
        return self._cache

    def begin(self, num_tokens: int) -> None:
        """A sweep writes `num_tokens` rows behind the committed ones. Uncommitted rows of an earlier sweep are gone."""
        self.cache.reserve(self._length + num_tokens)
        self._pending = num_tokens

    def commit(self, num_tokens: int) -> None:
        assert 0 <= num_tokens <= self._pending, f"commit of {num_tokens} after a span of {self._pending}"
        cache: object = self._cache
        if isinstance(cache, RecurrentCache):
            cache.commit(num_tokens, self._pending)
        self._length += num_tokens
        self._pending = 0

    def snapshot(self) -> DecoderState:
        return DecoderState(self.cache.copy(self._length), self._length)

    def close(self) -> None:
        if self._cache is not None:
            self._cache.close()
        self._cache = None


class Shape(Protocol):
    """What a sweep needs to know of a model beside its compute."""

    @property
    def vocab_size(self) -> int: ...

    @property
    def context_length(self) -> int: ...

    @property
    def num_layers(self) -> int: ...


class SweptModel:
    """A LanguageModel of layers. One instance is swept by one thread. weights_per_token: that one row meets."""

    def __init__(self, config: Shape, compute: Compute, weights_per_token: int) -> None:
        self.config = config
        self.compute = compute
        self._weights_per_token = weights_per_token
        self.clock = SweepClock(PAGED_ROW_SHARE if compute.bytes_to_fetch else compute.row_share)

    @property
    def vocab_size(self) -> int:
        return self.config.vocab_size

    @property
    def context_length(self) -> int:
        return self.config.context_length

    @property
    def exactness(self) -> Exactness:
        return self.compute.exactness

    @property
    def prefill_chunk(self) -> int:
        return self.compute.prefill_chunk

    @property
    def draft_heads(self) -> int:
        return 0

    def new_state(self) -> DecoderState:
        return DecoderState(self.compute.new_cache())

    @property
    def state_form(self) -> str:
        cache = self.compute.new_cache()
        return f"{type(self.compute).__name__}/{cache.form}" if isinstance(cache, KeptCache) else ""

    def state_arrays(self, state: SequenceState) -> Sequence[np.ndarray]:
        assert isinstance(state, DecoderState), "a state of another model"
        assert isinstance(state.cache, KeptCache), "states of this compute cannot be kept"
        return state.cache.arrays(state.length)

    def state_of(self, length: int, arrays: Sequence[np.ndarray]) -> DecoderState:
        cache = self.compute.new_cache()
        if length > self.context_length or not isinstance(cache, KeptCache):
            raise ValueError(f"it holds {length} tokens")
        cache.fill(length, arrays)
        return DecoderState(cache, length)

    def sweep(self, spans: Sequence[Span]) -> SweepOutput:
        started = time.perf_counter()
        batch = self._batch(spans)
        x = self.compute.embed(batch)
        for layer in range(self.config.num_layers):
            x = self.compute.layer(layer, x, batch)
        last, all_rows = wanted_logits(spans), wanted_hidden(spans)
        logits = self.compute.logits(x, last.rows) if len(last.rows) else np.empty((0, self.vocab_size), np.float32)
        hidden = self.compute.hidden(x, all_rows.rows) if len(all_rows.rows) else None
        self.clock.observe(len(batch.token_ids), time.perf_counter() - started)
        return SweepOutput(logits, last.slices, hidden, all_rows.slices)

    def sweep_cost(self, spans: Sequence[Span]) -> SweepCost:
        num_rows = sum(len(span.token_ids) for span in spans)
        cache_bytes = sum(span.state.resident_bytes for span in spans)
        adapters = {span.adapter.hash: span.adapter for span in spans if span.adapter is not None}
        adapter_bytes = sum(adapter.num_bytes for adapter in adapters.values())
        return SweepCost(
            bytes_to_fetch=self.compute.bytes_to_fetch,
            bytes_to_read=self.compute.weight_bytes + cache_bytes + adapter_bytes,
            flops=2 * num_rows * self._weights_per_token,
            seconds=self.clock.seconds(num_rows),
        )

    def counters(self) -> Mapping[str, float]:
        """Totals of paging since the start; empty where all weights are resident."""
        return self.compute.counters()

    def close(self) -> None:
        self.compute.close()

    def _batch(self, spans: Sequence[Span]) -> Batch:
        assert spans, "a sweep needs a span"
        segments, token_ids, positions, first_row = [], [], [], 0
        for span in spans:
            state, num_rows = span.state, len(span.token_ids)
            assert isinstance(state, DecoderState), "a state of another model"
            assert num_rows, "a span needs a token"
            if state.length + num_rows > self.context_length:
                raise ContextOverflow(
                    f"{state.length + num_rows} tokens do not fit the context of {self.context_length}"
                )
            ids = np.asarray(span.token_ids, np.int64)
            assert int(ids.min()) >= 0, "a token id below zero"
            if int(ids.max()) >= self.vocab_size:  # an added token of a tokenizer that goes beyond the embedding
                raise RequestError(f"token {ids.max()} of this text is beyond the model's {self.vocab_size} tokens")
            state.begin(num_rows)
            segments.append(Segment(state.cache, first_row, num_rows, state.length, span.adapter))
            token_ids.append(ids)
            positions.append(np.arange(state.length, state.length + num_rows, dtype=np.int64))
            first_row += num_rows
        return Batch(np.concatenate(token_ids), np.concatenate(positions), segments)


class Decoder(SweptModel):
    """A Llama-shaped one, which takes adapters."""

    config: DecoderConfig

    def __init__(self, config: DecoderConfig, compute: Compute) -> None:
        super().__init__(config, compute, _weights_per_token(config))

    def adapter_targets(self) -> Mapping[str, tuple[int, int]]:
        return adapter_targets(self.config)


def _weights_per_token(config: DecoderConfig) -> int:
    """Weights that one row meets: attention, its experts or the one feed-forward, the head."""
    attention = config.head_width * config.width * 2 * (config.num_heads + config.num_kv_heads)
    ffn = 3 * config.width * config.ffn_width * max(config.experts_per_token, 1)
    return config.num_layers * (attention + ffn) + config.vocab_size * config.width
