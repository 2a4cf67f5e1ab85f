"""The seam between a decoder's data flow and the device that does the arithmetic.

A decoder sweeps a ragged batch: rows of several sequences, one after the other. A compute embeds them, runs one layer
at a time, and gives logits or hidden rows. It owns the activations' type, the packed weights and the KV caches; the
decoder owns positions, commits and the contract with the engine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

from vortex.types import Adapter, Exactness


class KeyValueCache(Protocol):
    """Keys and values of one sequence, all layers, by position. How many of them count is known outside."""

    @property
    def resident_bytes(self) -> int: ...

    def reserve(self, num_tokens: int) -> None:
        """Make room for positions below `num_tokens`."""
        ...

    def copy(self, num_tokens: int) -> KeyValueCache:
        """An independent cache of the first `num_tokens` positions."""
        ...

    def close(self) -> None: ...


@runtime_checkable
class RecurrentCache(Protocol):
    """A cache that holds more than what is overwritten by the next sweep."""

    def commit(self, num_tokens: int, swept_tokens: int) -> None:
        """Of the last sweep's `swept_tokens` positions the first `num_tokens` count."""
        ...


@runtime_checkable
class KeptCache(Protocol):
    """A cache that can be written down and read back, bit for bit."""

    @property
    def form(self) -> str:
        """What the arrays mean; another string where they would mean something else."""
        ...

    def arrays(self, num_tokens: int) -> Sequence[np.ndarray]:
        """The first `num_tokens` positions (whole prefill chunks)."""
        ...

    def fill(self, num_tokens: int, arrays: Sequence[np.ndarray]) -> None:
        """Of an empty cache: become what `arrays` said. Raises ValueError for other shapes."""
        ...


@dataclass(frozen=True, slots=True)
class Segment:
    """Rows first_row .. first_row + num_rows of a batch: positions start_position, ... of one sequence."""

    cache: Any
    first_row: int
    num_rows: int
    start_position: int
    adapter: Adapter | None = None

    @property
    def rows(self) -> slice:
        return slice(self.first_row, self.first_row + self.num_rows)

    @property
    def end_position(self) -> int:
        return self.start_position + self.num_rows


@dataclass(frozen=True, slots=True)
class Batch:
    """token_ids, positions: int64 [rows]."""

    token_ids: np.ndarray
    positions: np.ndarray
    segments: Sequence[Segment]


class Compute(Protocol):
    """Activations `x` are opaque to the decoder: whatever this compute's `embed` returned."""

    @property
    def exactness(self) -> Exactness: ...

    @property
    def prefill_chunk(self) -> int: ...

    @property
    def weight_bytes(self) -> int:
        """Bytes that one sweep reads."""
        ...

    @property
    def bytes_to_fetch(self) -> int:
        """Of those, bytes that come from slower storage."""
        ...

    @property
    def row_share(self) -> float:
        """What a further row takes of a sweep of one, before it was measured (machine/sweep_clock.py)."""
        ...

    def counters(self) -> Mapping[str, float]:
        """What paging did since the start (docs/c3.md); empty where nothing is paged."""
        ...

    def new_cache(self) -> KeyValueCache: ...

    def embed(self, batch: Batch) -> Any: ...

    def layer(self, index: int, x: Any, batch: Batch) -> Any: ...

    def logits(self, x: Any, rows: np.ndarray) -> np.ndarray:
        """float32 [len(rows), vocab_size] after the last norm and the head."""
        ...

    def hidden(self, x: Any, rows: np.ndarray) -> np.ndarray:
        """float32 [len(rows), width] after the last norm."""
        ...

    def close(self) -> None: ...
