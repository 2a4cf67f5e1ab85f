"""A V-Blocks core as a LanguageModel: recurrent states of constant size, one step form for everything, no torch.

Promises the law bit for bit: prompts in any chunking, decoding, and the verification of drafts are the same
computation row by row, and every reduction of a row has its own fixed shape. `commit(n)` of a part of a span replays
the accepted tokens from what each layer's first matrices gave, without a sweep over the weights. There is no context
length: the millionth token costs what the thousandth did. network/network.py is the same in torch, for training.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from vortex.kernels import dispatch
from vortex.machine.sweep_clock import SweepClock
from vortex.spans import slices_of, wanted_hidden, wanted_logits
from vortex.types import Exactness, RowLookup, Span, SweepCost, SweepOutput
from vortex.vblocks.config import CoreConfig
from vortex.vblocks.layers import LayerByLayer
from vortex.vblocks.native.stack import NativeStack, can_stack
from vortex.vblocks.step.lava_slots import LavaSlots
from vortex.vblocks.step.math import rms_norm, silu
from vortex.vblocks.step.sequence import Layers
from vortex.vblocks.weights import CoreWeights, Product

PREFILL_CHUNK = 64
ROW_SHARE = 0.5  # of a sweep of one row, what a further row takes until that is learned


class Swept(Protocol):
    """A span after a sweep; `state` as if all of it were committed, `replay(n)` as if its first n tokens were."""

    @property
    def state(self) -> Any: ...

    @property
    def layers_taken(self) -> int: ...

    def replay(self, num_tokens: int) -> Any: ...


class CoreSequence:
    """A SequenceState. Layer states are values: a snapshot shares them."""

    def __init__(self, model: VortexCore, state: Any, length: int = 0) -> None:
        self._model, self._state, self._length = model, state, length
        self._pending: tuple[int, Swept] | None = None

    @property
    def length(self) -> int:
        return self._length

    @property
    def resident_bytes(self) -> int:
        return 0 if self._state is None else self._model.steps.num_bytes(self._state)

    @property
    def state(self) -> Any:
        """What the model's `steps` take."""
        assert self._state is not None, "a closed state cannot be swept"
        return self._state

    @property
    def layers(self) -> Layers:
        return self._model.steps.view(self.state)

    @property
    def layers_taken(self) -> int:
        """By all rows of the sweep that waits for its commit: a depth gate lets rows skip layers."""
        assert self._pending is not None, "nothing was swept"
        return self._pending[1].layers_taken

    def swept(self, num_tokens: int, swept: Swept) -> None:
        """What a sweep found; it counts once it is committed."""
        self._pending = (num_tokens, swept)

    def commit(self, num_tokens: int) -> None:
        assert self._pending is not None, "commit without a sweep"
        swept_tokens, swept = self._pending
        assert 0 <= num_tokens <= swept_tokens, f"commit of {num_tokens} after a span of {swept_tokens}"
        if num_tokens == swept_tokens:
            self._state = swept.state
        elif num_tokens:
            self._state = swept.replay(num_tokens)
        self._length += num_tokens
        self._pending = None
        self._model.last_committed = self._state

    def snapshot(self) -> CoreSequence:
        return CoreSequence(self._model, self.state, self._length)

    def close(self) -> None:
        self._state, self._pending = None, None


class VortexCore:
    """A LanguageModel over a core's weights, resident or paged. One thread sweeps it.

    `memory`: LAVA's slots that every new sequence begins with, one per layer that has them; `memory_path`: where the
    slots of the sequence that was committed last are written when the model is closed (vblocks/memory.py).
    """

    def __init__(
        self,
        config: CoreConfig,
        weights: CoreWeights,
        *,
        memory: Sequence[LavaSlots] | None = None,
        memory_path: Path | None = None,
    ) -> None:
        self.config, self.weights = config, weights
        self.steps: Any = (NativeStack if can_stack(config, weights) else LayerByLayer)(config, weights)
        self._native = dispatch.load() if weights.is_packed("head") else None
        self._norm = weights.vector("norm.weight")
        self._mtp_norms = [weights.vector(f"mtp.{index}.norm.weight") for index in range(config.mtp_k)]
        self._memory, self._memory_path = memory, memory_path
        self.last_committed: Any = None
        entries = weights.source.entries.items()
        self._num_weights = sum(int(np.prod(entry.shape)) for name, entry in entries if name[-1].isdigit())
        self._weight_bytes = weights.weight_bytes
        self._clock = SweepClock(ROW_SHARE)

    @property
    def vocab_size(self) -> int:
        return self.config.vocab_size

    @property
    def context_length(self) -> None:
        return None

    @property
    def exactness(self) -> Exactness:
        return Exactness.BITWISE

    @property
    def prefill_chunk(self) -> int:
        return PREFILL_CHUNK

    @property
    def draft_heads(self) -> int:
        return self.config.mtp_k

    def new_state(self) -> CoreSequence:
        return CoreSequence(self, self.steps.new_state(self._memory or ()))

    def sweep(self, spans: Sequence[Span]) -> SweepOutput:
        assert spans, "a sweep needs a span"
        started = time.perf_counter()
        states = [_core_state(span) for span in spans]
        rows = slices_of([len(span.token_ids) for span in spans])
        ids = np.concatenate([np.asarray(span.token_ids, np.int64) for span in spans])
        assert 0 <= int(ids.min()) <= int(ids.max()) < self.vocab_size, "a token id outside the vocabulary"
        x, swept = self.steps.sweep(self.weights.embedding[ids], [state.state for state in states], rows)
        for state, span, found in zip(states, spans, swept, strict=True):
            state.swept(len(span.token_ids), found)
        output = self._output(x, spans)
        self._clock.observe(len(ids), time.perf_counter() - started)
        return output

    def sweep_cost(self, spans: Sequence[Span]) -> SweepCost:
        num_rows = sum(len(span.token_ids) for span in spans)
        state_bytes = sum(span.state.resident_bytes for span in spans)
        return SweepCost(
            self.weights.source.bytes_to_fetch,
            self._weight_bytes + state_bytes,
            2 * num_rows * self._num_weights,
            seconds=self._clock.seconds(num_rows),
        )

    def counters(self) -> Mapping[str, float]:
        return self.weights.source.counters()

    def close(self) -> None:
        """Writes the memory where one was asked for. Raises StorageError."""
        if self._memory_path is not None and self.last_committed is not None:
            from vortex.vblocks.memory import save_memory

            layers = self.steps.view(self.last_committed)
            save_memory(self._memory_path, [layer.lava.slots for layer in layers if layer.lava])
        self._memory_path = None
        self.weights.close()

    def _output(self, x: np.ndarray, spans: Sequence[Span]) -> SweepOutput:
        last, all_rows = wanted_logits(spans), wanted_hidden(spans)
        hidden = self._normed(x[last.rows], self._norm)
        logits = np.empty((0, self.vocab_size), np.float32)
        draft_logits: RowLookup | None = None
        if len(last.rows):
            with self.weights.matrices("head") as (head,):
                logits = head(hidden)
                if self.config.mtp_k:
                    draft_logits = FurtherHeads(self, hidden)
                    if self.weights.source.bytes_to_fetch:  # the head is at hand now
                        draft_logits = np.stack([draft_logits.of_row(row, head) for row in range(len(hidden))])
        all_hidden = self._normed(x[all_rows.rows], self._norm) if len(all_rows.rows) else None
        return SweepOutput(logits, last.slices, all_hidden, all_rows.slices, draft_logits)

    def _normed(self, x_RD: np.ndarray, weight: np.ndarray) -> np.ndarray:
        if self._native is None:
            return rms_norm(x_RD, weight, self.config.norm_epsilon)
        y = np.empty_like(x_RD)
        self._native.rms_norm(x_RD, weight, self.config.norm_epsilon, y)
        return y

    def draft_rows(self, hidden_RD: np.ndarray) -> np.ndarray:
        """The hidden rows that predict the tokens 2, 3, … places on: [mtp_k, R, D]."""
        drafts = []
        for index, norm in enumerate(self._mtp_norms):
            with self.weights.matrices(f"mtp.{index}.matrices") as (in_proj, out_proj):
                inner = silu(in_proj(self._normed(hidden_RD, norm)))
                drafts.append(hidden_RD + out_proj(inner))
        return np.stack(drafts)


class FurtherHeads:
    """Logits of the further heads at a sweep's wanted rows, computed for a row that is asked for: BAD asks for one row
    of a block, and plain decoding for none."""

    def __init__(self, model: VortexCore, hidden_RD: np.ndarray) -> None:
        self._model, self._hidden = model, hidden_RD

    def __getitem__(self, row: int) -> np.ndarray:
        with self._model.weights.matrices("head") as (head,):
            return self.of_row(row, head)

    def of_row(self, row: int, head: Product) -> np.ndarray:
        """[mtp_k, vocab] float32."""
        return head(self._model.draft_rows(self._hidden[row : row + 1])[:, 0])


def _core_state(span: Span) -> CoreSequence:
    assert isinstance(span.state, CoreSequence), "a state of another model"
    assert span.token_ids, "a span needs a token"
    return span.state
