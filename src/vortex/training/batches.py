"""Which tokens each step sees: a function of the seed and the step alone, so that a resumed run needs no position.

Each pass over the data cuts it into windows at an offset of its own and shuffles them. A window whose place lies less
than half a window after the beginning of a document begins there instead: short documents are mostly seen whole, with
nothing before them, as a chat begins.
"""

from __future__ import annotations

import numpy as np

from vortex.errors import ConfigError
from vortex.training.token_store import TokenPart


class Batches:
    """`batch(step)`: int64 [batch, window + 1] token ids."""

    def __init__(self, part: TokenPart, *, window: int, batch: int, seed: int) -> None:
        """Raises ConfigError where the data is shorter than one window."""
        self._part, self._window, self._batch, self._seed = part, window, batch, seed
        self.num_windows = (len(part.tokens) - 1) // window - 1
        if self.num_windows < 1:
            raise ConfigError(
                f"the data has {len(part.tokens)} tokens, too few for windows of {window}; give more, or --window less"
            )
        self._epoch = -1
        self._places = np.zeros(0, np.int64)

    def batch(self, step: int) -> np.ndarray:
        rows = []
        for index in range(step * self._batch, (step + 1) * self._batch):
            epoch, at = divmod(index, self.num_windows)
            self._open_epoch(epoch)
            begin = int(self._places[at])
            rows.append(self._part.tokens[begin : begin + self._window + 1])
        return np.stack(rows).astype(np.int64)

    def _open_epoch(self, epoch: int) -> None:
        if epoch == self._epoch:
            return
        chance = np.random.default_rng((self._seed, epoch))
        offset = int(chance.integers(self._window))
        places = offset + self._window * chance.permutation(self.num_windows)
        starts = self._part.starts
        nearest = starts[np.searchsorted(starts, places, side="right") - 1]
        self._places = np.where(places - nearest < self._window // 2, nearest, places)
        self._epoch = epoch


def held_out_windows(part: TokenPart, window: int, max_windows: int) -> list[np.ndarray]:
    """Windows of [1 + up to `window`] tokens from the beginning of documents on; no window spans two documents."""
    ends = [*part.starts[1:].tolist(), len(part.tokens)]
    found: list[np.ndarray] = []
    for begin, end in zip(part.starts.tolist(), ends, strict=True):
        for at in range(begin, end - 1, window):
            if len(found) == max_windows:
                return found
            found.append(np.asarray(part.tokens[at : min(at + window + 1, end)], np.int64))
    return found
