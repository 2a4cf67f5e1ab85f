"""Blocks to passages of 200 to 400 tokens: cut where the document is cut, never across two chapters.

A passage keeps the path of headings over it and the lines it came from. Small neighbours under one heading are joined;
what is too long is cut at sentences (prose) or line ends (code, tables), and only a line without either within itself.
Tokens are estimated from the text alone, so that the same file always gives the same passages whatever the embedder.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from vortex.knowledge.documents.blocks import Block

MIN_TOKENS = 200
TARGET_TOKENS = 300
MAX_TOKENS = 400
_PIECE = re.compile(r"[^\W\d_]+|\d+|[^\w\s]|_+")
_LETTERS_A_TOKEN = 6.0  # of the part of a long word beyond its first eight letters
_SENTENCE = re.compile(r"(?<=[.!?…:;])[\"'”’)\]]*\s+")


@dataclass(frozen=True, slots=True)
class Passage:
    """`line`, `last_line`: from 1; of a PDF the pages."""

    text: str
    heading: tuple[str, ...]
    line: int
    last_line: int
    tokens: int


def count_tokens(text: str) -> int:
    """About as many as a model's tokenizer makes: words, numbers by two digits, signs; long words are several."""
    total = 0.0
    for match in _PIECE.finditer(text):
        piece = match.group()
        if piece[0].isdigit():
            total += (len(piece) + 1) // 2
        else:
            total += 1 + max(0.0, (len(piece) - 8) / _LETTERS_A_TOKEN)
    return round(total)


def passages(blocks: Sequence[Block], *, pages: bool = False) -> list[Passage]:
    """`pages`: lines of blocks are pages, and do not grow with line ends."""
    found: list[Passage] = []
    for group in _sections(blocks):
        found += _joined(group, pages)
    return found


def _sections(blocks: Sequence[Block]) -> Iterator[list[Block]]:
    """Blocks that one passage may hold: under one heading, or small sections under one parent."""
    group: list[Block] = []
    tokens = 0
    for block in blocks:
        size = count_tokens(block.text)
        if group and block.heading != group[-1].heading:
            parent = _common(group[0].heading, block.heading)
            if tokens >= MIN_TOKENS or not parent or tokens + size > TARGET_TOKENS:
                yield group
                group, tokens = [], 0
        group.append(block)
        tokens += size
    if group:
        yield group


def _joined(group: Sequence[Block], pages: bool) -> Iterator[Passage]:
    """Whole blocks gather up to the target; a block that is too long is cut first."""
    heading = group[0].heading
    for block in group:
        heading = _common(heading, block.heading)
    gathered: list[Block] = []
    tokens = 0
    shown = heading
    for block in group:
        for part in _cut(block):
            size = count_tokens(part.text)
            if gathered and (tokens + size > MAX_TOKENS or (tokens >= TARGET_TOKENS and size > TARGET_TOKENS // 4)):
                yield _passage(gathered, heading, tokens, pages)
                gathered, tokens = [], 0
            if part.heading != shown and part.heading[len(heading) :]:
                inner = " › ".join(part.heading[len(heading) :])
                part = Block(f"{inner}\n{part.text}", part.heading, part.line, part.by_lines)
            shown = part.heading
            gathered.append(part)
            tokens += size
    if gathered:
        yield _passage(gathered, heading, tokens, pages)


def _passage(parts: Sequence[Block], heading: tuple[str, ...], tokens: int, pages: bool) -> Passage:
    texts = [parts[0].text]
    for before, part in pairwise(parts):
        gap = part.line - before.line - before.text.count("\n") if before.by_lines and part.by_lines else 2
        texts.append("\n" * min(max(gap, 0), 2) + part.text)  # 0: one line that had to be cut
    last = parts[-1]
    last_line = last.line if pages else last.line + last.text.count("\n")
    return Passage("".join(texts), heading, parts[0].line, last_line, tokens)


def _cut(block: Block) -> Iterator[Block]:
    """The block, or parts of at most the target's size."""
    if count_tokens(block.text) <= MAX_TOKENS:
        yield block
        return
    pieces = block.text.splitlines(keepends=True) if block.by_lines else _sentences(block.text)
    line, gathered, tokens = block.line, "", 0
    for piece in pieces:
        for small in _halves(piece):
            size = count_tokens(small)
            if gathered and tokens + size > TARGET_TOKENS:
                yield Block(gathered.rstrip(), block.heading, line, block.by_lines)
                line += gathered.count("\n")
                gathered, tokens = "", 0
            gathered += small
            tokens += size
    if gathered.strip():
        yield Block(gathered.rstrip(), block.heading, line, block.by_lines)


def _sentences(text: str) -> list[str]:
    ends = [match.end() for match in _SENTENCE.finditer(text)]
    return [text[start:end] for start, end in zip([0, *ends], [*ends, len(text)], strict=True) if text[start:end]]


def _halves(text: str) -> Iterator[str]:
    """A piece without a good place to cut is halved at a space, or anywhere."""
    waiting = [text]
    while waiting:
        piece = waiting.pop()
        if len(piece) < 2 or count_tokens(piece) <= TARGET_TOKENS:
            yield piece
            continue
        middle = piece.rfind(" ", 1, len(piece) // 2 + 1)
        middle = middle if middle > 0 else len(piece) // 2
        waiting += [piece[middle:], piece[:middle]]


def _common(one: tuple[str, ...], other: tuple[str, ...]) -> tuple[str, ...]:
    length = 0
    while length < min(len(one), len(other)) and one[length] == other[length]:
        length += 1
    return one[:length]
