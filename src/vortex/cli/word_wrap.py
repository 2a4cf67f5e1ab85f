"""Text that comes piece by piece, broken between words at a terminal's width.

Promises to show every character at once but for the spaces and the word under way at a line's end, and to change
nothing but where lines break. Code (between ``` fences) and words longer than a line are left as they are.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable

FENCE = "```"


class WordWrap:
    """`push` pieces of an answer, `finish` at its end. width: columns of the terminal."""

    def __init__(self, write: Callable[[str], None], width: int) -> None:
        self._write = write
        self._width = width
        self._column = 0
        self._word = ""  # shown already, and taken back if the line proves too short for it
        self._space = ""  # before that word, not shown yet
        self._line = ""
        self._in_code = False

    def push(self, text: str) -> None:
        shown = "".join(self._step(character) for character in text)
        if shown:
            self._write(shown)

    def finish(self) -> None:
        self._write(self._space)
        self._space = self._word = ""

    def _step(self, character: str) -> str:
        """What to write for one more character."""
        if character == "\n":
            if self._line.lstrip().startswith(FENCE):
                self._in_code = not self._in_code
            self._column, self._word, self._space, self._line = 0, "", "", ""
            return character
        self._line += character
        if self._in_code:
            return character
        if character == " ":
            waiting, self._space, self._word = self._space, character, ""
            self._column += 1
            return waiting
        first_of_word = not self._word
        self._word += character
        self._column += columns_of(character)
        before, self._space = self._space, ""
        if self._column <= self._width or columns_of(self._word) >= self._width:
            return before + character
        self._column = columns_of(self._word)
        if first_of_word:
            return "\n" + character
        taken_back = columns_of(self._word[:-1])
        return "\b" * taken_back + " " * taken_back + "\n" + self._word


def columns_of(text: str) -> int:
    """How many columns a terminal gives to the text: two for wide characters, none for combining ones."""
    return sum(
        0 if unicodedata.combining(character) else 2 if unicodedata.east_asian_width(character) in "WF" else 1
        for character in text
    )
