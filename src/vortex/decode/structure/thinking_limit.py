"""Thinking before the answer: what holds for the answer waits until it is over, and a budget ends it.

While the model thinks everything goes. After `budget` tokens (or where the limit leaves just enough for what the answer
must hold) the family's own ending is written instead of what the sampler chose; what comes then obeys `answer`, with
the tokens that are left. An answer that does not begin by thinking obeys `answer` from its first token.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from vortex.decode.constraint import TokenConstraint

MAX_OPENING_CHARS = 64


class Limited(TokenConstraint, Protocol):
    """A constraint that can begin late."""

    @property
    def least_tokens(self) -> int:
        """That it needs for a valid answer."""
        ...

    def limited_to(self, max_tokens: int) -> Limited:
        """A copy that stands at its beginning, with another limit."""
        ...

    def copy(self) -> Limited: ...


@dataclass(frozen=True, slots=True)
class ThinkingWords:
    """opening, closing: as they are written. ending_ids: tokens that end the thinking from outside."""

    opening: bytes
    closing: bytes
    ending_ids: Sequence[int]
    token_bytes: Callable[[int], bytes]


class ThinkingLimit:
    """A TokenConstraint. budget: None: no limit but the answer's. is_open: the prompt has begun the thinking."""

    def __init__(
        self, words: ThinkingWords, answer: Limited | None, *, max_tokens: int, budget: int | None, is_open: bool
    ) -> None:
        self.notes: tuple[str, ...] = getattr(answer, "notes", ())
        self._words = words
        self._answer = answer
        self._budget = budget
        self._left_tokens = max_tokens
        self._is_thinking = is_open
        self._may_open = not is_open
        self._used = 0  # tokens thought
        self._forced = 0  # of the ending, written
        self._tail = b""

    def mask(self) -> np.ndarray | None:
        return self._answer.mask() if self._answer is not None and not self._is_thinking else None

    def settle(self, token_id: int) -> int:
        if self._is_thinking:
            return self._words.ending_ids[self._forced] if self._must_end else token_id
        return self._answer.settle(token_id) if self._answer is not None else token_id

    def advance(self, token_id: int) -> None:
        if self._is_thinking:
            self._think(token_id)
        else:
            if self._answer is not None:
                self._answer.advance(token_id)
            if self._may_open:
                self._look_for_opening(token_id)
        self._left_tokens -= 1

    @property
    def is_finished(self) -> bool:
        return self._answer is not None and not self._is_thinking and self._answer.is_finished

    def copy(self) -> ThinkingLimit:
        twin = ThinkingLimit.__new__(ThinkingLimit)
        twin.__dict__.update(self.__dict__)
        twin._answer = self._answer.copy() if self._answer is not None else None
        return twin

    @property
    def _must_end(self) -> bool:
        if self._forced:
            return True
        if self._budget is not None and self._used >= self._budget:
            return True
        if self._answer is None:
            return False
        return self._left_tokens <= len(self._words.ending_ids) + self._answer.least_tokens + 1

    def _think(self, token_id: int) -> None:
        is_forced = self._must_end and token_id == self._words.ending_ids[self._forced]
        self._used += 1
        if is_forced:
            self._forced += 1
            if self._forced == len(self._words.ending_ids):
                self._close()
            return
        closing = self._words.closing
        self._tail = (self._tail + self._words.token_bytes(token_id))[-len(closing) - 16 :]
        if closing in self._tail:
            self._close()

    def _close(self) -> None:
        self._is_thinking, self._forced, self._tail = False, 0, b""
        if self._answer is not None:
            self._answer = self._answer.limited_to(self._left_tokens - 1)

    def _look_for_opening(self, token_id: int) -> None:
        """Only where the answer begins with it."""
        self._tail += self._words.token_bytes(token_id)
        begun = self._tail.lstrip()
        if begun.startswith(self._words.opening):
            self._is_thinking, self._may_open, self._tail = True, False, b""
        elif (begun and not self._words.opening.startswith(begun)) or len(self._tail) > MAX_OPENING_CHARS:
            self._may_open = False
