"""Drafts from a model's own further heads (multi-token prediction): what a sweep said about the tokens behind the next.

The heads' rows come with the sweep that gave the newest token, so a draft costs a look for their largest entries.
Models without such heads are never asked for anything.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vortex.decode.drafting.drafter import MAX_EVIDENCE, AnswerSoFar, Proposal


class HeadDrafter:
    name = "heads"
    is_dear = False

    def begin(self, answer: AnswerSoFar) -> HeadPath:
        return HeadPath()


class HeadPath:
    """Guesses hold for one token: the next one that stands makes them old."""

    def __init__(self) -> None:
        self._guesses: list[int] = []
        self._evidence: list[int] = []

    def extend(self, token_ids: Sequence[int]) -> None:
        self._guesses, self._evidence = [], []

    def receive_heads(self, head_logits: np.ndarray) -> None:
        """Evidence: the head's own probability of its guess, in fifteenths."""
        largest = head_logits.max(axis=1)
        probability = 1 / np.exp(head_logits - largest[:, None]).sum(axis=1)
        self._guesses = head_logits.argmax(axis=1).tolist()
        self._evidence = (probability * MAX_EVIDENCE).astype(np.int64).tolist()

    def propose(self, ahead: Sequence[int], limit: int) -> Proposal | None:
        """The heads behind those that `ahead` speaks for, while it says what they say."""
        done = len(ahead)
        if list(ahead) != self._guesses[:done] or done >= len(self._guesses):
            return None
        stop = min(len(self._guesses), done + limit)
        return Proposal(self._guesses[done:stop], self._evidence[done:stop])

    def close(self) -> None:
        """Nothing is kept."""
