"""What sampling remembers of one sequence: its place in the noise, its penalty window, its constraint.

`choose` looks and changes nothing; `advance` commits a token. A path of drafted tokens works on a `copy`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import numpy as np

from vortex.decode.constraint import TokenConstraint, allowed_tokens
from vortex.decode.noise import noise_key
from vortex.decode.sampling import NO_IDS, choose_token
from vortex.types import SamplingOptions


class PenaltyWindow:
    """The last `size_tokens` tokens (0: all) and how often each occurs among them."""

    def __init__(self, size_tokens: int, token_ids: Sequence[int] = ()) -> None:
        self._tokens: deque[int] = deque(maxlen=size_tokens or None)
        self._counts: dict[int, int] = {}
        for token_id in token_ids[-size_tokens:]:
            self.push(token_id)

    def push(self, token_id: int) -> None:
        if len(self._tokens) == self._tokens.maxlen:
            oldest = self._tokens[0]
            self._counts[oldest] -= 1
            if not self._counts[oldest]:
                del self._counts[oldest]
        self._tokens.append(token_id)
        self._counts[token_id] = self._counts.get(token_id, 0) + 1

    def counted(self) -> tuple[np.ndarray, np.ndarray]:
        """Distinct ids [n] int64 and their counts [n] float64."""
        num_distinct = len(self._counts)
        ids = np.fromiter(self._counts.keys(), dtype=np.int64, count=num_distinct)
        return ids, np.fromiter(self._counts.values(), dtype=np.float64, count=num_distinct)

    def copy(self) -> PenaltyWindow:
        twin = PenaltyWindow.__new__(PenaltyWindow)
        twin._tokens = self._tokens.copy()
        twin._counts = self._counts.copy()
        return twin


_NOTHING_SEEN = (np.empty(0, dtype=np.int64), np.empty(0))


class SamplerState:
    """Chooses the tokens of one choice of one request.

    seed: any integer. prompt_ids: what the penalty window starts from. min_tokens: that many tokens come before any of
    end_ids may; a constraint knows its own end and overrides it.
    """

    def __init__(
        self,
        options: SamplingOptions,
        *,
        seed: int,
        choice: int = 0,
        prompt_ids: Sequence[int] = (),
        constraint: TokenConstraint | None = None,
        min_tokens: int = 0,
        end_ids: frozenset[int] = frozenset(),
    ) -> None:
        self.options = options
        self.num_tokens = 0  # chosen so far: the output index of the next one
        self.constraint = constraint
        self._draw = (seed, choice)
        self._min_tokens = min_tokens if constraint is None else 0
        self._end_ids = np.array(sorted(end_ids), dtype=np.int64)
        penalised = (options.repetition_penalty, options.presence_penalty, options.frequency_penalty) != (1.0, 0.0, 0.0)
        looked_at = prompt_ids if options.penalty_reads_prompt else ()
        self._window = PenaltyWindow(options.penalty_window, looked_at) if penalised else None

    @property
    def is_finished(self) -> bool:
        return self.constraint is not None and self.constraint.is_finished

    def choose(self, logits: np.ndarray) -> int:
        """The next token from logits [vocab] float32. BackendError where nothing can follow."""
        seen_ids, seen_counts = self._window.counted() if self._window else _NOTHING_SEEN
        token_id = choose_token(
            logits,
            self.options,
            seen_ids=seen_ids,
            seen_counts=seen_counts,
            allowed=self._allowed(len(logits)),
            key=noise_key(*self._draw, self.num_tokens) if self.options.temperature else 0,
            forbidden=self._end_ids if self.num_tokens < self._min_tokens else NO_IDS,
        )
        return self.constraint.settle(token_id) if self.constraint is not None else token_id

    def advance(self, token_id: int) -> None:
        """The token stands: it moves the noise, the window and the constraint on."""
        self.num_tokens += 1
        if self._window:
            self._window.push(token_id)
        if self.constraint is not None:
            self.constraint.advance(token_id)

    def copy(self) -> SamplerState:
        """An independent state at the same place, for a path that may be dropped."""
        twin = SamplerState.__new__(SamplerState)
        twin.__dict__.update(self.__dict__)
        twin._window = self._window.copy() if self._window else None
        twin.constraint = self.constraint.copy() if self.constraint is not None else None
        return twin

    def _allowed(self, vocab_size: int) -> np.ndarray | None:
        mask = self.constraint.mask() if self.constraint is not None else None
        return allowed_tokens(mask, vocab_size) if mask is not None else None
