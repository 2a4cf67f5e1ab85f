"""What a sequence remembers, layer by layer: keys and values by position, or a recurrent state.

A recurrent state is never changed in place: a sweep computes the one after its rows beside it, and a commit takes that
one over, or replays the accepted rows from their inputs (no second sweep: the weights are not needed). So a snapshot
shares arrays and costs nothing, and dropped drafts leave no trace.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

STEP_TOKENS = 64
State = tuple[np.ndarray, ...]
Advance = Callable[[State, State], tuple[np.ndarray, State]]
"""(state before, inputs [rows, ...]) to (outputs [rows, ...], state after). Row by row: the same bits for any cut."""


class Slot(Protocol):
    @property
    def num_bytes(self) -> int: ...

    def reserve(self, num_tokens: int) -> None: ...

    def commit(self, num_tokens: int, swept_tokens: int) -> None: ...

    def copy(self, num_tokens: int) -> Slot: ...

    def arrays(self, num_tokens: int) -> list[np.ndarray]: ...

    def fill(self, num_tokens: int, arrays: Sequence[np.ndarray]) -> None:
        """Raises ValueError for other shapes."""
        ...


class KeyValueSlot:
    """keys: float32 [heads, capacity, width], values: [heads, capacity, value_width]."""

    def __init__(self, heads: int, width: int, value_width: int) -> None:
        self.keys = np.zeros((heads, 0, width), np.float32)
        self.values = np.zeros((heads, 0, value_width), np.float32)

    @property
    def num_bytes(self) -> int:
        return self.keys.nbytes + self.values.nbytes

    def reserve(self, num_tokens: int) -> None:
        missing = num_tokens - self.keys.shape[1]
        if missing > 0:
            room = ((0, 0), (0, max(missing, STEP_TOKENS, self.keys.shape[1] // 4)), (0, 0))
            self.keys, self.values = np.pad(self.keys, room), np.pad(self.values, room)

    def commit(self, num_tokens: int, swept_tokens: int) -> None:
        """Rows beyond are overwritten by the next sweep."""

    def copy(self, num_tokens: int) -> KeyValueSlot:
        other = KeyValueSlot(self.keys.shape[0], self.keys.shape[2], self.values.shape[2])
        other.keys, other.values = self.keys[:, :num_tokens].copy(), self.values[:, :num_tokens].copy()
        return other

    def arrays(self, num_tokens: int) -> list[np.ndarray]:
        return [self.keys[:, :num_tokens], self.values[:, :num_tokens]]

    def fill(self, num_tokens: int, arrays: Sequence[np.ndarray]) -> None:
        self.reserve(num_tokens)
        _copy_into(self.arrays(num_tokens), arrays)


class RecurrentSlot:
    """committed: the state after all committed tokens; its arrays are not written to."""

    def __init__(self, empty: State) -> None:
        self.committed = self._after = empty
        self._inputs: State = ()
        self._advance: Advance | None = None

    @property
    def num_bytes(self) -> int:
        return sum(array.nbytes for array in self.committed)

    def reserve(self, num_tokens: int) -> None:
        """A state has the size it has."""

    def run(self, inputs: State, advance: Advance) -> np.ndarray:
        outputs, self._after = advance(self.committed, inputs)
        self._inputs, self._advance = inputs, advance
        return outputs

    def commit(self, num_tokens: int, swept_tokens: int) -> None:
        if num_tokens == swept_tokens:
            self.committed = self._after
        elif num_tokens:
            assert self._advance is not None, "a commit follows a sweep"
            _, self.committed = self._advance(self.committed, tuple(one[:num_tokens] for one in self._inputs))
        self._inputs, self._after = (), self.committed

    def copy(self, num_tokens: int) -> RecurrentSlot:
        return RecurrentSlot(self.committed)

    def arrays(self, num_tokens: int) -> list[np.ndarray]:
        return list(self.committed)

    def fill(self, num_tokens: int, arrays: Sequence[np.ndarray]) -> None:
        fresh = [np.empty_like(array) for array in self.committed]
        _copy_into(fresh, arrays)
        self.committed = self._after = tuple(fresh)


def _copy_into(targets: Sequence[np.ndarray], arrays: Sequence[np.ndarray]) -> None:
    if [(one.shape, one.dtype) for one in targets] != [(one.shape, one.dtype) for one in arrays]:
        raise ValueError("it holds other shapes")
    for target, array in zip(targets, arrays, strict=True):
        target[:] = array
