"""Drafters for tests: one that knows the answer, one that never does, and some that misbehave in an engine."""

from __future__ import annotations

import time
from collections.abc import Sequence

from vortex.decode.drafter import AnswerSoFar, Proposal


class Oracle:
    """Knows whole texts (prompt and answer) by their prompt's length and first tokens; right with `accuracy` places of
    eight."""

    is_dear = False

    def __init__(self, texts: Sequence[Sequence[int]], wrong_every: int = 0, name: str = "oracle") -> None:
        self.name = name
        self.texts = texts
        self.wrong_every = wrong_every

    def begin(self, answer: AnswerSoFar) -> KnownText:
        start = list(answer.token_ids)
        text = next((t for t in self.texts if list(t[: len(start)]) == start), start)
        return KnownText(text, len(start), self.wrong_every)


class KnownText:
    def __init__(self, text: Sequence[int], place: int, wrong_every: int) -> None:
        self.text, self.place, self.wrong_every = text, place, wrong_every

    def extend(self, token_ids: Sequence[int]) -> None:
        self.place += len(token_ids)

    def propose(self, ahead: Sequence[int], limit: int) -> Proposal | None:
        start = self.place + len(ahead)
        tokens = list(self.text[start : start + limit])
        if self.wrong_every:
            tokens = [t if (start + i + 1) % self.wrong_every else (t + 1) % 200 for i, t in enumerate(tokens)]
        return Proposal(tokens, [9] * len(tokens))

    def close(self) -> None:
        pass


class Liar:
    """Always sure, and wrong as a rule."""

    name = "liar"
    is_dear = False

    def begin(self, answer: AnswerSoFar) -> Liar:
        return self

    def extend(self, token_ids: Sequence[int]) -> None:
        pass

    def propose(self, ahead: Sequence[int], limit: int) -> Proposal | None:
        return Proposal([17] * limit, [15] * limit)

    def close(self) -> None:
        pass


class Failing(Liar):
    def __init__(self, how: str) -> None:
        self.name = how

    def propose(self, ahead: Sequence[int], limit: int) -> Proposal | None:
        if self.name == "raises":
            raise RuntimeError("a drafter's own trouble")
        if self.name == "slow":
            time.sleep(0.01)
            return None
        return Proposal([10**6] * limit, [15] * limit)
