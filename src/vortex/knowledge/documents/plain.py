"""Plain text and reStructuredText: paragraphs between blank lines, headings by their underlines.

An underline is a line of one repeated sign, at least as long as the line above it (or nearly), as reStructuredText and
many plain files write it; the signs' order of appearance is the order of levels.
"""

from __future__ import annotations

from vortex.knowledge.documents.blocks import Block

_SIGNS = set("=-~^\"'`*+#_:.")
_MIN_UNDERLINE = 3


def read_plain(text: str) -> list[Block]:
    lines = text.split("\n")
    blocks: list[Block] = []
    levels: list[str] = []
    path: list[str] = []
    paragraph: list[str] = []
    start = 1

    def close(end: int) -> None:
        nonlocal start
        content = "\n".join(paragraph).strip("\n")
        if content.strip():
            blocks.append(Block(content, tuple(path), start, by_lines=_is_indented(paragraph)))
        paragraph.clear()
        start = end

    index = 0
    while index < len(lines):
        line = lines[index]
        sign = _underline(line, lines[index + 1]) if index + 1 < len(lines) else None
        if sign is not None:
            close(index + 3)
            overlined = bool(blocks) and _is_rule(blocks[-1].text, sign)
            if overlined:
                blocks.pop()
            mark = sign * 2 if overlined else sign
            if mark not in levels:
                levels.append(mark)
            depth = levels.index(mark)
            path[depth:] = [line.strip()]
            index += 2
            continue
        if not line.strip():
            close(index + 2)
        elif not paragraph:
            start = index + 1
            paragraph.append(line)
        else:
            paragraph.append(line)
        index += 1
    close(len(lines))
    return blocks


def _underline(line: str, following: str) -> str | None:
    title, rule = line.strip(), following.rstrip()
    if not title or len(title) > 200 or len(rule) < max(_MIN_UNDERLINE, len(title) - 2):
        return None
    if line.startswith((" ", "\t")) and len(rule) < len(line.rstrip()):
        return None
    if len(set(rule)) != 1 or rule[0] not in _SIGNS or set(title) <= _SIGNS:
        return None
    return rule[0]


def _is_rule(text: str, sign: str) -> bool:
    return len(text) >= _MIN_UNDERLINE and set(text.strip()) == {sign}


def _is_indented(lines: list[str]) -> bool:
    return bool(lines) and all(line.startswith(("    ", "\t")) for line in lines if line.strip())
