"""Markdown: headings (# and underlined), fenced code, tables and lists kept together, front matter left out.

A line-by-line reading of what matters for cutting; inline marks stay, since people and models read them as they are.
Does not render; HTML comments are left out because no reader sees them.
"""

from __future__ import annotations

import re

from vortex.knowledge.documents.blocks import Block

_HEADING = re.compile(r"^ {0,3}(#{1,6})[ \t]+(.+?)[ \t]*#*[ \t]*$")
_FENCE = re.compile(r"^ {0,3}(`{3,}|~{3,})")
_SETEXT = re.compile(r"^ {0,3}(=+|-{2,})[ \t]*$")
_COMMENT = re.compile(r"<!--.*?(?:-->|\Z)", re.DOTALL)
_FRONT = re.compile(r"\A---\n.*?\n(?:---|\.\.\.)[ \t]*(?:\n|\Z)", re.DOTALL)
_LINK_MARKS = re.compile(r"[*_`]|\[([^\]]*)\]\([^)]*\)|\{#[^}]*\}")


def read_markdown(text: str) -> list[Block]:
    reader = _Reader()
    text = _COMMENT.sub(_only_line_ends, _FRONT.sub(_only_line_ends, text))
    for number, line in enumerate(text.split("\n"), 1):
        reader.take(number, line)
    reader.close()
    return reader.blocks


def _only_line_ends(match: re.Match[str]) -> str:
    return "\n" * match.group().count("\n")


def heading_text(raw: str) -> str:
    """A heading without its marks."""
    return _LINK_MARKS.sub(lambda match: match.group(1) or "", raw).strip()


class _Reader:
    def __init__(self) -> None:
        self.blocks: list[Block] = []
        self._path: list[tuple[int, str]] = []
        self._lines: list[str] = []
        self._start = 1
        self._fence: str | None = None

    def take(self, number: int, line: str) -> None:
        fence = _FENCE.match(line)
        if self._fence is not None:
            self._add(number, line)
            closes = fence is not None and fence[1][0] == self._fence[0] and len(fence[1]) >= len(self._fence)
            if closes and not line.strip().strip(self._fence[0]):
                self._fence = None
                self.close(by_lines=True)
        elif fence is not None:
            self.close()
            self._fence = fence[1]
            self._add(number, line)
        elif match := _HEADING.match(line):
            self.close()
            self._enter(len(match[1]), match[2])
        elif len(self._lines) == 1 and (match := _SETEXT.match(line)) and not self._lines[0].lstrip().startswith("|"):
            title = self._lines.pop()
            self._enter(1 if match[1][0] == "=" else 2, title)
        elif not line.strip():
            self.close()
        else:
            self._add(number, line)

    def close(self, *, by_lines: bool = False) -> None:
        text = "\n".join(self._lines).strip("\n")
        if text.strip():
            is_table = text.lstrip().startswith("|")
            heading = tuple(title for _, title in self._path)
            self.blocks.append(Block(text, heading, self._start, by_lines or is_table or self._fence is not None))
        self._lines = []

    def _add(self, number: int, line: str) -> None:
        if not self._lines:
            self._start = number
        self._lines.append(line)

    def _enter(self, level: int, raw: str) -> None:
        while self._path and self._path[-1][0] >= level:
            self._path.pop()
        self._path.append((level, heading_text(raw)))
