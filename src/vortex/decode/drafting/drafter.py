"""What guesses the next tokens of an answer: a small protocol, so that lookups, tables and models draft side by side.

A guess costs nothing but time when it is wrong: what stands is what was sampled. So a drafter promises nothing; one
that raises, names ids outside the vocabulary, or takes longer than it saves is left out (sources.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from vortex.decode.sampler import SamplerState

MAX_EVIDENCE = 15


@dataclass(frozen=True, slots=True)
class Proposal:
    """A chain of guessed tokens. evidence: for each of them, how much speaks for it, 0 to MAX_EVIDENCE, in a measure of
    the drafter's own; what it is worth is learned (acceptance.py)."""

    token_ids: Sequence[int]
    evidence: Sequence[int]


@dataclass(frozen=True, slots=True)
class AnswerSoFar:
    """What a drafter is told of an answer when it begins: prompt and first token, how its tokens are chosen, and the
    hash of the adapter it is written with (empty: none)."""

    token_ids: Sequence[int]
    sampler: SamplerState
    adapter: str = ""


class DraftPath(Protocol):
    """A drafter's view of one answer. Belongs to one thread."""

    def extend(self, token_ids: Sequence[int]) -> None:
        """These tokens stand now."""
        ...

    def propose(self, ahead: Sequence[int], limit: int) -> Proposal | None:
        """At most `limit` tokens that may follow what stands and `ahead` (guesses of other drafters)."""
        ...

    def close(self) -> None:
        """The answer ended."""
        ...


class Drafter(Protocol):
    """One per engine; may remember across answers. `is_dear`: asked only where cheap ones found nothing."""

    @property
    def name(self) -> str: ...

    @property
    def is_dear(self) -> bool: ...

    def begin(self, answer: AnswerSoFar) -> DraftPath: ...


def evidence_of(length: int) -> int:
    """Evidence from the length of a match: exact up to 6, then coarser."""
    return _EVIDENCE[length] if length < len(_EVIDENCE) else MAX_EVIDENCE


_EVIDENCE = [*range(7), 7, 7, *[8] * 4, *[9] * 4, *[10] * 8, *[11] * 8, *[12] * 16, *[13] * 16, *[14] * 32]
