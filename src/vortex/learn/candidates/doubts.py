"""What the model itself finds odd about a lesson, for the person who approves: most suspicious first.

Two signs that rules cannot see. Surprise: how unlikely the base finds the statement after its question. Certainty: how
sure it is of its own answer, where that is another one. Both are hints: a correction is there because the base was
wrong. Nothing is held back by them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from vortex.learn.candidates.served import Served
from vortex.learn.material.rows import Row

SURPRISED_NATS, CERTAIN = 3.8, 0.45  # a token on average, each (prototype of 24 poisoned and 40 clean rows)
OWN_TOKENS = 24


@dataclass(frozen=True, slots=True)
class Doubt:
    """surprise: nats a token of the statement. certainty: mean probability of the base's own answer's tokens."""

    question: str
    statement: str
    origin: str
    own_answer: str
    surprise: float
    certainty: float
    agrees: bool

    @property
    def reasons(self) -> list[str]:
        found = []
        if self.surprise > SURPRISED_NATS:
            found.append("the model finds it unlikely")
        if self.certainty > CERTAIN and not self.agrees:
            found.append("the model is sure of another answer")
        return found

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "reasons": self.reasons}


def doubts_about(served: Served, rows: Sequence[Row], agrees: Callable[[str, Row], bool]) -> list[Doubt]:
    """agrees: whether an answer says what the row says. The most suspicious first."""
    own = served.answers([row.question for row in rows], max_tokens=OWN_TOKENS)
    found = []
    for row, said in zip(rows, own, strict=True):
        surprise, _ = _likelihood(served, row.question, row.statement)
        _, certainty = _likelihood(served, row.question, said)
        found.append(
            Doubt(row.question, row.statement, row.origin, said, round(surprise, 3), round(certainty, 3),
                  agrees(said, row))
        )  # fmt: skip
    return sorted(found, key=lambda doubt: (-len(doubt.reasons), -doubt.surprise))


def _likelihood(served: Served, question: str, answer: str) -> tuple[float, float]:
    """Of the answer's tokens after the question: mean surprise in nats, mean probability."""
    ids, answer_from = served.answer_ids(question, answer)
    logits = served.logits(ids[:-1])[answer_from - 1 :].astype(np.float64)
    shifted = logits - logits.max(axis=1, keepdims=True)
    chances = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    own = chances[np.arange(len(chances)), ids[answer_from:]]
    return float(-own.mean()), float(np.exp(own).mean())
