"""The seam between a repair and a programming language.

A language finds functions in a text, says whether a text is a program at all and whether two texts are the same one,
and proposes changes: `basic` ones (an operator, a constant, a name, an off-by-one) and `wide` ones (guards, moved and
copied statements, expressions taken from elsewhere in the function). Everything else of a repair knows no language.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Function:
    """Where one stands: lines from 1, both ends included; `depth`: how many functions it lies in."""

    name: str
    first_line: int
    last_line: int
    depth: int = 0

    def text_of(self, text: str) -> str:
        return "".join(text.splitlines(keepends=True)[self.first_line - 1 : self.last_line])

    def replaced_in(self, text: str, body: str) -> str:
        """`text` with this function's lines replaced by `body`."""
        lines = text.splitlines(keepends=True)
        if body and not body.endswith("\n"):
            body += "\n"
        return "".join([*lines[: self.first_line - 1], body, *lines[self.last_line :]])


@dataclass(frozen=True, slots=True)
class Change:
    """A whole new text; `line` of the old one where it begins to differ; `kind` names what was done."""

    text: str
    line: int
    kind: str


class Language(Protocol):
    @property
    def name(self) -> str: ...

    @property
    def suffixes(self) -> tuple[str, ...]: ...

    @property
    def comment(self) -> str:
        """What begins a comment."""
        ...

    def is_installed(self) -> bool:
        """Its grammar can be had here."""
        ...

    def functions(self, text: str) -> Sequence[Function]:
        """All functions, in order. Empty for a text that is no program."""
        ...

    def shape(self, text: str) -> str | None:
        """Equal for texts that are the same program; None for no program."""
        ...

    def basic(self, text: str, function: Function) -> Iterator[Change]: ...

    def wide(self, text: str, function: Function) -> Iterator[Change]: ...
