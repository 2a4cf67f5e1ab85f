"""All rows that may be trained on: `data/continuous/rows.jsonl`, which only grows; and what a person must decide.

Promises that the same row is kept once and running text that is nearly another not at all, that a source has its quota,
that a row with something suspicious in it is held back and listed, and that two rows which answer one question
differently are both held back until a person says which.
"""

from __future__ import annotations

import contextlib
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vortex.errors import StorageError
from vortex.knowledge.memory.folder import folded
from vortex.learn.material.filters import suspicions
from vortex.learn.material.near_duplicates import NearDuplicates
from vortex.learn.material.rows import Row
from vortex.records.jsonl import append_jsonl, read_jsonl
from vortex.records.lock import FileLock

FILE_NAME = "rows.jsonl"
MAX_ROWS_OF_A_SOURCE = 5000
_LINE = re.compile(r":[0-9]+$")
NEAR_WORDS = 0.9  # of the words of two statements on one question that make them the same


@dataclass(slots=True)
class Taken:
    """Of one ingestion: rows by what became of them. near: running text that is nearly one that is there."""

    added: int = 0
    known: int = 0
    near: int = 0
    over_quota: int = 0
    held: Counter[str] = field(default_factory=Counter)

    def to_json(self) -> dict[str, Any]:
        return {
            "added": self.added,
            "known": self.known,
            "near_duplicates": self.near,
            "over_quota": self.over_quota,
            "held": dict(self.held),
        }


@dataclass(frozen=True, slots=True)
class Material:
    """lessons: to be trained on. texts: running text. held: (row, why) for a person, most suspicious first."""

    lessons: list[Row]
    texts: list[Row]
    held: list[tuple[Row, str]]


class RowStore:
    """root: `data/continuous`."""

    def __init__(self, root: Path) -> None:
        self._file, self._lock = root / FILE_NAME, root / "rows.lock"

    def add(self, rows: Iterable[Row]) -> Taken:
        """Raises StorageError: what was taken in until then is there, the next ingestion goes on."""
        try:
            return self._add(rows)
        except OSError as error:
            raise StorageError(
                f"{self._file} cannot be written ({error.strerror or error}); free some space"
            ) from error

    def _add(self, rows: Iterable[Row]) -> Taken:
        taken = Taken()
        with FileLock(self._lock):
            there = self.rows()
            known = {row.digest for row in there}
            by_source = Counter(map(_source_of, there))
            texts: NearDuplicates | None = None  # made when the first running text comes
            for row in rows:
                source = _source_of(row)
                if row.digest in known:
                    taken.known += 1
                elif by_source[source] >= MAX_ROWS_OF_A_SOURCE:
                    taken.over_quota += 1
                elif row.is_text and not (texts := texts or _texts_of(there)).is_new(row.statement):
                    taken.near += 1
                else:
                    append_jsonl(self._file, row.to_json(), durable=False)
                    known.add(row.digest)
                    by_source[source] += 1
                    taken.added += 1
                    taken.held.update(suspicions(row)[:1])
        return taken

    def rows(self) -> list[Row]:
        found = []
        for line in read_jsonl(self._file):
            with contextlib.suppress(KeyError, TypeError, ValueError):  # of a newer version, or edited by hand
                found.append(Row.from_json(line))
        return found


def sort_out(rows: Iterable[Row]) -> Material:
    """Later words of the same person on the same episode replace earlier ones; contradictions are for a person."""
    latest: dict[tuple[str, str, str], Row] = {}
    texts: list[Row] = []
    held: list[tuple[Row, str]] = []
    for row in sorted(rows, key=lambda row: row.created):
        if reasons := suspicions(row):
            held.append((row, ", ".join(reasons)))
        elif row.is_text:
            texts.append(row)
        else:
            latest[(row.source, row.origin, folded(row.question))] = row
    by_question: dict[str, list[Row]] = {}
    for row in latest.values():
        by_question.setdefault(folded(row.question), []).append(row)
    lessons = []
    for group in by_question.values():
        if all(_says_the_same(group[0], other) for other in group[1:]):
            lessons.append(group[-1])
        else:
            held += [(row, f"answers {row.question!r} otherwise than {_other(group, row)}") for row in group]
    held.sort(key=lambda entry: -entry[1].count(","))
    return Material(lessons, texts, held)


def _source_of(row: Row) -> str:
    """What shares a quota: all lines of a file are of one source."""
    return f"{row.source}/{_LINE.sub('', row.origin) if row.source == 'file' else row.origin}"


def _texts_of(rows: Iterable[Row]) -> NearDuplicates:
    found = NearDuplicates()
    for row in rows:
        if row.is_text:
            found.is_new(row.statement)
    return found


def _other(group: list[Row], row: Row) -> str:
    return next(other.origin for other in group if other is not row)


def _says_the_same(one: Row, other: Row) -> bool:
    left, right = set(folded(one.statement).split()), set(folded(other.statement).split())
    return len(left & right) >= NEAR_WORDS * max(1, len(left | right))
