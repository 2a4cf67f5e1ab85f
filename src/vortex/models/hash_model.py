"""A language model without weights: the logits of position t are a hash of tokens 0..t.

It keeps the law bit for bit, needs microseconds per token and no torch, and can be slow or fail on demand: engine and
server are tested and measured with it. It is strict where real models are lenient: a state that is swept before the
last span was committed, used after it was closed, or filled beyond the context is an assertion.
With `remembers_cuts` it stands for models whose rounding depends on how a prompt was cut (Exactness.ARGMAX): the hash
then includes where each span began, so a reused prefix equals a cold one only if it was computed by the same spans.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from vortex.errors import BackendError
from vortex.spans import num_hidden, num_logits, slices_of
from vortex.types import Exactness, Span, SweepCost, SweepOutput

_WORD = (1 << 64) - 1
_GAMMA = 0x9E3779B97F4A7C15
_MIX_1 = 0xBF58476D1CE4E5B9
_MIX_2 = 0x94D049BB133111EB
_BYTES_PER_TOKEN = 64  # what a state pretends to hold, so that byte budgets can be tested


def _mix(value: int) -> int:
    value &= _WORD
    value = ((value ^ (value >> 30)) * _MIX_1) & _WORD
    value = ((value ^ (value >> 27)) * _MIX_2) & _WORD
    return value ^ (value >> 31)


@dataclass(frozen=True, kw_only=True)
class HashModelOptions:
    """vocab_size: tokens. width: of hidden rows. favour: [vocab] added to all logits, to make an end likely or rare.

    looks_back: logits depend on that many last tokens alone (0: on all), so that answers repeat themselves.
    delay_s: every sweep takes at least this long. row_share: what a further row is said to cost. fail_at: numbers of
    sweeps (from 0) that raise BackendError. on_sweep: called before each sweep with its number and spans; it may watch,
    wait or raise.
    """

    vocab_size: int = 262
    context_length: int | None = 4096
    prefill_chunk: int = 16
    width: int = 32
    remembers_cuts: bool = False
    favour: np.ndarray | None = None
    looks_back: int = 0
    delay_s: float = 0.0
    fail_at: frozenset[int] = frozenset()
    row_share: float = 0.1
    on_sweep: Callable[[int, Sequence[Span]], None] | None = None


def _hash_of(value: int, token_ids: Sequence[int]) -> int:
    for token_id in token_ids:
        value = _mix(value * _GAMMA + token_id + 1)
    return value


class HashState:
    def __init__(self, model: HashModel, sequence_hash: int = 0, length: int = 0, tail: tuple[int, ...] = ()) -> None:
        self._model = model
        self._tail = tail  # the last tokens, where logits depend on them alone
        self._hash = sequence_hash
        self._length = length
        self._pending: list[int] | None = None  # the hash after each token of the span that waits for its commit
        self._swept: tuple[int, ...] = ()
        self._closed = False
        model.open_states += 1

    @property
    def length(self) -> int:
        return self._length

    @property
    def resident_bytes(self) -> int:
        return 0 if self._closed else _BYTES_PER_TOKEN * self._length

    def absorb(self, token_ids: Sequence[int], remembers_cuts: bool) -> list[int]:
        """The hash after each token; kept until `commit` says how many of them stand."""
        assert not self._closed, "a closed state was swept"
        assert self._pending is None, "a state was swept before its last span was committed"
        if looks_back := self._model.options.looks_back:
            self._swept = text = (*self._tail, *token_ids)
            ends = range(len(self._tail) + 1, len(text) + 1)
            hashes = [_hash_of(0, text[max(0, end - looks_back) : end]) for end in ends]
        else:
            value = _mix(self._hash ^ (self._length + 1)) if remembers_cuts else self._hash
            hashes = []
            for token_id in token_ids:
                value = _hash_of(value, (token_id,))
                hashes.append(value)
        self._pending = hashes
        return hashes

    def commit(self, num_tokens: int) -> None:
        assert self._pending is not None, "commit without a sweep"
        assert 0 <= num_tokens <= len(self._pending), f"commit of {num_tokens} after a span of {len(self._pending)}"
        if num_tokens:
            self._hash = self._pending[num_tokens - 1]
            self._length += num_tokens
            if looks_back := self._model.options.looks_back:
                self._tail = self._swept[: len(self._tail) + num_tokens][-looks_back:]
        self._pending = None

    def snapshot(self) -> HashState:
        assert not self._closed, "a closed state has no snapshot"
        return HashState(self._model, self._hash, self._length, self._tail)

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._model.open_states -= 1


class HashModel:
    """A LanguageModel. `num_sweeps` and `open_states` count for tests: sweeps begun, states not yet closed."""

    def __init__(self, options: HashModelOptions | None = None) -> None:
        self.options = options or HashModelOptions()
        self.num_sweeps = 0
        self.open_states = 0
        self._offsets = np.arange(self.options.vocab_size, dtype=np.uint64) * np.uint64(_GAMMA)

    @property
    def vocab_size(self) -> int:
        return self.options.vocab_size

    @property
    def context_length(self) -> int | None:
        return self.options.context_length

    @property
    def exactness(self) -> Exactness:
        return Exactness.ARGMAX if self.options.remembers_cuts else Exactness.BITWISE

    @property
    def prefill_chunk(self) -> int:
        return self.options.prefill_chunk

    @property
    def draft_heads(self) -> int:
        return 0

    def new_state(self) -> HashState:
        return HashState(self)

    def sweep(self, spans: Sequence[Span]) -> SweepOutput:
        self._before_sweep(spans)
        logits: list[np.ndarray] = []
        hidden: list[np.ndarray] = []
        for span in spans:
            hashes = self._absorb(span)
            logits += [self.logits_of(value) for value in hashes[len(hashes) - num_logits(span) :]]
            hidden += [self._uniform(value)[: self.options.width] - 0.5 for value in hashes[: num_hidden(span)]]
        return SweepOutput(
            np.array(logits, dtype=np.float32).reshape(-1, self.vocab_size),
            slices_of([num_logits(span) for span in spans]),
            np.array(hidden, dtype=np.float32) if hidden else None,
            slices_of([num_hidden(span) for span in spans]),
        )

    def sweep_cost(self, spans: Sequence[Span]) -> SweepCost:
        """A further row takes `row_share` of a sweep of one."""
        num_rows = sum(len(span.token_ids) for span in spans)
        return SweepCost(0, 0, num_rows, seconds=1e-3 * (1 + self.options.row_share * (num_rows - 1)))

    def close(self) -> None:
        """Nothing to give back."""

    def logits_of(self, sequence_hash: int) -> np.ndarray:
        """[vocab] float32: exponential variates, so that a few tokens stand out."""
        logits = -np.log1p(-self._uniform(sequence_hash))
        if self.options.favour is not None:
            logits = logits + self.options.favour
        row: np.ndarray = logits.astype(np.float32)
        return row

    def _before_sweep(self, spans: Sequence[Span]) -> None:
        assert spans, "a sweep needs a span"
        number = self.num_sweeps
        self.num_sweeps += 1
        if self.options.on_sweep is not None:
            self.options.on_sweep(number, spans)
        if self.options.delay_s:
            time.sleep(self.options.delay_s)
        if number in self.options.fail_at:
            raise BackendError(f"sweep {number} fails on demand")

    def _absorb(self, span: Span) -> list[int]:
        state = span.state
        assert isinstance(state, HashState), "a state of another model"
        assert span.token_ids, "a span needs a token"
        assert all(0 <= token_id < self.vocab_size for token_id in span.token_ids), "an id outside the vocabulary"
        end = state.length + len(span.token_ids)
        assert self.context_length is None or end <= self.context_length, "a span beyond the context"
        return state.absorb(span.token_ids, self.options.remembers_cuts)

    def _uniform(self, sequence_hash: int) -> np.ndarray:
        """[vocab] float64 in [0, 1)."""
        bits = self._offsets + np.uint64(sequence_hash)
        bits ^= bits >> np.uint64(30)
        bits *= np.uint64(_MIX_1)
        bits ^= bits >> np.uint64(27)
        bits *= np.uint64(_MIX_2)
        bits ^= bits >> np.uint64(31)
        uniform: np.ndarray = (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53
        return uniform
