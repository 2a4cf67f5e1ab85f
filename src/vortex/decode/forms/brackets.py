"""Where a bracketed text ends that comes in pieces: brackets are counted outside strings."""

from __future__ import annotations

import re
from collections.abc import Sequence


class BracketEnd:
    """Fed pieces in order, from the first bracket on. quotes: characters that open and close strings. delimiters:
    longer marks that do so; with them the whole text is given at once."""

    def __init__(self, quotes: str = '"', delimiters: Sequence[str] = ()) -> None:
        marks = [*delimiters, *quotes]
        self._signs = re.compile("|".join([*map(re.escape, marks), r"[{}\[\]()]", r"\\."]), re.DOTALL)
        self._depth = 0
        self._quote = ""
        self._escaped = False

    def find(self, piece: str) -> int | None:
        """The index behind the closing bracket in this piece, or None while it goes on."""
        at = 0
        if self._escaped and piece:
            at, self._escaped = 1, False
        while found := self._signs.search(piece, at):
            sign, at = found[0], found.end()
            if sign[0] == "\\" and len(sign) == 2:
                continue
            if self._quote:
                if sign == self._quote:
                    self._quote = ""
            elif sign in "{[(":
                self._depth += 1
            elif sign in "}])":
                self._depth -= 1
                if self._depth <= 0:
                    return at
            else:
                self._quote = sign
        self._escaped = piece.endswith("\\") and at < len(piece)
        return None
