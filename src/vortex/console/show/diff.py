"""A unified diff as rows for a page: files, line numbers of both sides, and in a changed pair the words that differ.

Reads what `git diff` and Vortex's own patches look like; a line it does not know is shown as it is, so nothing of a
diff is ever left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher

_HUNK = re.compile(r"@@ -(\d+)(?:,\d+)? \+(\d+)(?:,\d+)? @@")
_TOKEN = re.compile(r"\w+|\s+|[^\w\s]")
MAX_PAIRED_CHARS = 400
ALIKE = 0.35

Piece = tuple[str, bool]
"""Text, and whether it differs from the other side."""


@dataclass(slots=True)
class Line:
    """kind: same, added, removed, hunk, or other. Numbers of the old and the new file."""

    kind: str
    pieces: list[Piece]
    old: int | None = None
    new: int | None = None

    @property
    def text(self) -> str:
        return "".join(piece for piece, _ in self.pieces)


@dataclass(slots=True)
class FileDiff:
    path: str
    lines: list[Line] = field(default_factory=list)

    @property
    def added(self) -> int:
        return sum(line.kind == "added" for line in self.lines)

    @property
    def removed(self) -> int:
        return sum(line.kind == "removed" for line in self.lines)


def read_diff(text: str) -> list[FileDiff]:
    files: list[FileDiff] = []
    old = new = 0
    inside = False
    for raw in text.removesuffix("\n").split("\n") if text else ():
        if raw.startswith("diff --git ") or (raw.startswith("--- ") and not files):
            files.append(FileDiff(raw.partition(" b/")[2] if raw.startswith("diff") else ""))
            inside = False
        elif not files:
            files.append(FileDiff(""))
        here = files[-1]
        if match := _HUNK.match(raw):
            old, new, inside = int(match[1]), int(match[2]), True
            here.lines.append(Line("hunk", [(raw, False)]))
        elif not inside:
            if raw.startswith("+++ ") and not here.path:
                here.path = raw[4:].removeprefix("b/")
            here.lines.append(Line("other", [(raw, False)]))
        else:
            line = _line(raw, old, new)
            here.lines.append(line)
            old += line.old is not None
            new += line.new is not None
    for one in files:
        _mark_words(one.lines)
    return files


def _line(raw: str, old: int, new: int) -> Line:
    mark, text = raw[:1], raw[1:]
    if mark == "+":
        return Line("added", [(text, False)], None, new)
    if mark == "-":
        return Line("removed", [(text, False)], old, None)
    if mark in {" ", ""}:
        return Line("same", [(text, False)], old, new)
    return Line("other", [(raw, False)])


def _mark_words(lines: Sequence[Line]) -> None:
    """Pairs of a run of removed lines and the run of added ones behind it."""
    for removed, added in _runs(lines):
        for one, other in zip(removed, added, strict=False):
            if max(len(one.text), len(other.text)) <= MAX_PAIRED_CHARS:
                _mark_pair(one, other)


def _runs(lines: Sequence[Line]) -> Iterator[tuple[list[Line], list[Line]]]:
    removed: list[Line] = []
    added: list[Line] = []
    for line in lines:
        if line.kind == "removed" and not added:
            removed.append(line)
        elif line.kind == "added" and removed:
            added.append(line)
        else:
            yield removed, added
            removed, added = ([line] if line.kind == "removed" else []), []
    yield removed, added


def _mark_pair(one: Line, other: Line) -> None:
    left, right = _TOKEN.findall(one.text), _TOKEN.findall(other.text)
    matcher = SequenceMatcher(None, left, right, autojunk=False)
    if matcher.ratio() < ALIKE:
        return
    one.pieces, other.pieces = [], []
    for kind, start, end, other_start, other_end in matcher.get_opcodes():
        if end > start:
            one.pieces.append(("".join(left[start:end]), kind != "equal"))
        if other_end > other_start:
            other.pieces.append(("".join(right[other_start:other_end]), kind != "equal"))
