"""Streamed text breaks between words, and nothing of it is lost."""

from __future__ import annotations

import textwrap

from hypothesis import given
from hypothesis import strategies as st

from vortex.cli.word_wrap import WordWrap

PIECES = st.lists(st.text(alphabet="ab \n", max_size=12), max_size=12)


def screen(pieces: list[str], width: int) -> list[str]:
    """The lines of a terminal wide enough for anything, after backspaces have been obeyed."""
    written: list[str] = []
    wrap = WordWrap(written.append, width)
    for piece in pieces:
        wrap.push(piece)
    wrap.finish()
    lines, column = [[]], 0
    for character in "".join(written):
        if character == "\n":
            lines, column = [*lines, []], 0
        elif character == "\b":
            column -= 1
        else:
            lines[-1][column : column + 1] = [character]
            column += 1
    return ["".join(line) for line in lines]


def test_words_move_to_the_next_line_whole() -> None:
    text = "the quick brown fox jumps over the lazy dog and goes on"
    pieces = [text[start : start + 3] for start in range(0, len(text), 3)]
    assert [line.rstrip() for line in screen(pieces, 20)] == textwrap.wrap(text, 20)


@given(PIECES, st.integers(4, 20))
def test_no_word_is_lost_or_cut_and_no_line_too_long(pieces: list[str], width: int) -> None:
    lines = screen(pieces, width)
    words = "".join(pieces).split()
    assert " ".join(lines).split() == words
    assert all(len(line.rstrip()) <= width or len(line.split()) == 1 for line in lines)


def test_code_is_left_alone() -> None:
    text = "see\n```\nx = a_long_name + another_long_name\n```\nso it is and goes on a while"
    assert "x = a_long_name + another_long_name" in screen([text], 20)


def test_wide_characters_count_twice() -> None:
    assert screen(["日本 日本"], 8)[0].rstrip() == "日本"
