"""Reads a unified diff strictly: which files, what kind of change, which lines. What it does not know it refuses."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from vortex.errors import AgentStopped

HEADER = re.compile(r"diff --git a/(.+) b/(.+)")
HUNK = re.compile(r"@@ -\d+(?:,(\d+))? \+\d+(?:,(\d+))? @@.*")
KNOWN_MODES = ("100644",)


@dataclass(slots=True)
class FileDiff:
    path: str
    is_new: bool = False
    is_gone: bool = False
    added: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)


def read_diff(text: str) -> list[FileDiff]:
    """Raises AgentStopped for renames, links, modes, binary files and anything else that is no plain change of text."""
    files: list[FileDiff] = []
    lines = text.split("\n")
    if lines and lines[-1] == "":
        lines.pop()
    place = 0
    while place < len(lines):
        found = HEADER.fullmatch(lines[place])
        if found is None:
            raise AgentStopped(f"line {place + 1} of the diff is none of a plain change: {lines[place][:60]!r}")
        if found.group(1) != found.group(2):
            raise AgentStopped(f"the diff renames {found.group(1)}; a patch changes files where they are")
        one = FileDiff(found.group(1))
        place = _read_head(lines, place + 1, one)
        place = _read_hunks(lines, place, one)
        files.append(one)
    if not files:
        raise AgentStopped("the diff is empty")
    if len({one.path for one in files}) != len(files):
        raise AgentStopped("the diff names a file twice")
    return files


def _read_head(lines: list[str], place: int, one: FileDiff) -> int:
    while place < len(lines) and not lines[place].startswith("--- "):
        line = lines[place]
        if line.startswith("new file mode ") and line.removeprefix("new file mode ") in KNOWN_MODES:
            one.is_new = True
        elif line.startswith("deleted file mode "):
            one.is_gone = True
        elif not re.fullmatch(r"index [0-9a-f]+\.\.[0-9a-f]+( 100644)?", line):
            raise AgentStopped(
                f"{one.path}: {line[:60]!r} is no plain change of text (modes, links and binaries are not)"
            )
        place += 1
    old = "/dev/null" if one.is_new else f"a/{one.path}"
    new = "/dev/null" if one.is_gone else f"b/{one.path}"
    if lines[place : place + 2] != [f"--- {old}", f"+++ {new}"]:
        raise AgentStopped(f"{one.path}: the diff's two names are not those of its header")
    return place + 2


def _read_hunks(lines: list[str], place: int, one: FileDiff) -> int:
    hunks = 0
    while place < len(lines) and lines[place].startswith("@@"):
        found = HUNK.fullmatch(lines[place])
        if found is None:
            raise AgentStopped(f"{one.path}: a hunk that cannot be read")
        left = [int(group) if group is not None else 1 for group in found.groups()]
        place += 1
        hunks += 1
        while left[0] > 0 or left[1] > 0:
            if place >= len(lines):
                raise AgentStopped(f"{one.path}: a hunk ends too soon")
            line = lines[place]
            place += 1
            if line.startswith("\\"):
                continue
            if line.startswith("+"):
                one.added.append(line[1:])
                left[1] -= 1
            elif line.startswith("-"):
                one.removed.append(line[1:])
                left[0] -= 1
            elif line.startswith(" ") or line == "":
                left = [left[0] - 1, left[1] - 1]
            else:
                raise AgentStopped(f"{one.path}: a hunk with a line that is none: {line[:40]!r}")
        if place < len(lines) and lines[place].startswith("\\"):
            place += 1
    if not hunks:
        raise AgentStopped(f"{one.path}: the diff changes nothing in it")
    return place
