"""Source code: Python by its syntax tree, a function or class head a block; other languages between blank lines.

Headings are the names around a piece (`Store › add`). Code that does not parse is read like any other language's.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from vortex.knowledge.documents.blocks import Block

_DEFINITION = re.compile(
    r"^(?:export\s+|pub(?:\([^)]*\))?\s+|public\s+|private\s+|static\s+|async\s+|default\s+)*"
    r"(?:class|struct|enum|interface|trait|impl|func|function|fn|def|module|namespace|type)\s+([A-Za-z_]\w*)"
)
_Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def read_code(text: str, suffix: str) -> list[Block]:
    if suffix in {".py", ".pyi"}:
        try:
            tree = ast.parse(text)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return read_lines(text)
        return list(_python(tree, text.split("\n")))
    return read_lines(text)


def read_lines(text: str) -> list[Block]:
    """Pieces between blank lines; the name of the last definition at the left margin is the heading."""
    blocks: list[Block] = []
    heading: tuple[str, ...] = ()
    piece: list[str] = []
    start = 1
    for number, line in enumerate([*text.split("\n"), ""], 1):
        if line.strip():
            if not piece:
                start = number
            if match := _DEFINITION.match(line):
                heading = (match[1],)
            piece.append(line)
        elif piece:
            blocks.append(Block("\n".join(piece), heading, start, by_lines=True))
            piece = []
    return blocks


def _python(tree: ast.Module, lines: list[str]) -> Iterator[Block]:
    yield from _body(tree.body, lines, (), 1, len(lines))


def _body(body: list[ast.stmt], lines: list[str], path: tuple[str, ...], start: int, end: int) -> Iterator[Block]:
    """Blocks of lines start..end (from 1, inclusive), in order; what is between definitions are blocks as well."""
    at = start
    for node in body:
        if not isinstance(node, _Definition):
            continue
        first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
        yield from _piece(lines, path, at, first - 1)
        last = node.end_lineno or first
        inner = (*path, node.name)
        if isinstance(node, ast.ClassDef):
            yield from _body(node.body, lines, inner, first, last)
        else:
            yield from _piece(lines, inner, first, last)
        at = last + 1
    yield from _piece(lines, path, at, end)


def _piece(lines: list[str], path: tuple[str, ...], first: int, last: int) -> Iterator[Block]:
    while first <= last and not lines[first - 1].strip():
        first += 1
    text = "\n".join(lines[first - 1 : last]).rstrip()
    if text.strip():
        yield Block(text, path, first, by_lines=True)
