"""Drafters that know the answer, or never do: they show what drafting could give at best, and that it does no harm at
worst. For measurements and tests.
"""

from __future__ import annotations

from collections.abc import Sequence

from vortex.decode.drafting.drafter import MAX_EVIDENCE, AnswerSoFar, Proposal


class Oracle:
    """Knows whole texts, prompt and answer, by their beginnings. wrong_every: every so many places it is wrong (0:
    never)."""

    is_dear = False

    def __init__(self, texts: Sequence[Sequence[int]], wrong_every: int = 0, name: str = "oracle") -> None:
        self.name = name
        self._texts = texts
        self._wrong_every = wrong_every

    def begin(self, answer: AnswerSoFar) -> KnownText:
        beginning = list(answer.token_ids)
        text = next((text for text in self._texts if list(text[: len(beginning)]) == beginning), beginning)
        return KnownText(text, len(beginning), self._wrong_every)


class KnownText:
    def __init__(self, text: Sequence[int], place: int, wrong_every: int) -> None:
        self._text, self._place, self._wrong_every = text, place, wrong_every

    def extend(self, token_ids: Sequence[int]) -> None:
        self._place += len(token_ids)

    def propose(self, ahead: Sequence[int], limit: int) -> Proposal | None:
        start = self._place + len(ahead)
        token_ids = list(self._text[start : start + limit])
        if self._wrong_every:
            token_ids = [
                token_id if (start + index) % self._wrong_every else (token_id + 1) % 100
                for index, token_id in enumerate(token_ids, start=1)
            ]
        return Proposal(token_ids, [MAX_EVIDENCE] * len(token_ids))

    def close(self) -> None:
        """Nothing is kept."""


class Liar:
    """Always sure, and wrong as a rule."""

    name = "liar"
    is_dear = False

    def begin(self, answer: AnswerSoFar) -> Liar:
        return self

    def extend(self, token_ids: Sequence[int]) -> None:
        """It does not listen."""

    def propose(self, ahead: Sequence[int], limit: int) -> Proposal | None:
        return Proposal([17] * limit, [MAX_EVIDENCE] * limit)

    def close(self) -> None:
        """Nothing is kept."""
