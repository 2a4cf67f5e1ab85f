"""Orders repairs that pass the tests: by how much likelier the changed function is to a model than the faulty one was.

A fault is unlikely text. Of changes that all pass, the one that made the text most natural is mostly the right one
(the change in log-probability of the whole function; a model of 135 million weights does it as well as larger ones).
Without a model: the smallest change first.
"""

from __future__ import annotations

import difflib
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from vortex.agent.repair.languages.language import Change
from vortex.agent.repair.locate import Suspect
from vortex.errors import RequestError
from vortex.protocols import GivenTextReader
from vortex.types import GivenText

MAX_BEFORE_CHARS = 1200


class Order(StrEnum):
    LIKELIHOOD = "likelihood"
    SIZE = "size"
    RANDOM = "random"
    FOUND = "found"  # as they were found: no ranking


@dataclass(frozen=True, slots=True)
class Plausible:
    """A change that passes the tests. gain: change in log-probability, where a model was asked; is_likelier: the new
    text is likelier for its length (what is added costs, however natural it is)."""

    suspect: Suspect | None
    path: str
    old: str
    change: Change
    gain: float | None = None
    is_likelier: bool | None = None

    @property
    def size_chars(self) -> int:
        return changed_chars(self.old, self.change.text)


async def ranked(
    pool: Sequence[Plausible], reader: GivenTextReader | None, order: Order = Order.LIKELIHOOD, seed: int = 0
) -> list[Plausible]:
    """Best first. Ties go to the smaller change, then to the one found first."""
    if order is Order.FOUND:
        return list(pool)
    if order is Order.RANDOM:
        shuffled = list(pool)
        random.Random(seed).shuffle(shuffled)
        return shuffled
    scored = list(pool)
    if order is Order.LIKELIHOOD and reader is not None:
        scored = await _scored(pool, reader)
    return sorted(scored, key=lambda one: (-(one.gain or 0.0), one.size_chars))


async def _scored(pool: Sequence[Plausible], reader: GivenTextReader) -> list[Plausible]:
    """Pools of one function are asked together, so that what they share is swept once."""
    groups: dict[tuple[str, int], list[int]] = {}
    for index, one in enumerate(pool):
        if one.gain is not None:
            continue
        groups.setdefault((one.path, one.suspect.function.first_line if one.suspect else 0), []).append(index)
    scored = list(pool)
    for indices in groups.values():
        one = pool[indices[0]]
        before, text, after = _around(one)
        others = [_inner(pool[index].change.text, before, after) for index in indices]
        given = GivenText(text=text, opening=f"# {one.path}\n{before[-MAX_BEFORE_CHARS:]}")
        try:
            own, *values = await reader.log_probabilities(given, others)
        except RequestError:  # a function beyond the model's context: size decides
            continue
        for index, other, value in zip(indices, others, values, strict=True):
            is_likelier = value / len(other) > own / len(text)
            scored[index] = replace(pool[index], gain=value - own, is_likelier=is_likelier)
    return scored


def _around(one: Plausible) -> tuple[str, str, str]:
    """What stands before the function, the function, and what stands behind it; the whole file where there is none."""
    if one.suspect is None:
        return "", one.old, ""
    lines = one.old.splitlines(keepends=True)
    first, last = one.suspect.function.first_line - 1, one.suspect.function.last_line
    return "".join(lines[:first]), "".join(lines[first:last]), "".join(lines[last:])


def _inner(text: str, before: str, after: str) -> str:
    """The changed function: what is left of the changed file without what stands around it."""
    if text.startswith(before) and text.endswith(after):
        inner = text[len(before) : len(text) - len(after)]
        if inner.strip():
            return inner
    return text


def changed_chars(old: str, new: str) -> int:
    """Characters that go, plus characters that come."""
    matcher = difflib.SequenceMatcher(None, old, new, autojunk=False)
    return sum((i2 - i1) + (j2 - j1) for tag, i1, i2, j1, j2 in matcher.get_opcodes() if tag != "equal")
