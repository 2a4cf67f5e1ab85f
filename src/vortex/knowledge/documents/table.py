"""CSV and TSV: a row a block, written as `column: value`, so that a passage needs no header to be understood."""

from __future__ import annotations

import csv
import io

from vortex.knowledge.documents.blocks import Block, UnreadableDocument

MAX_ROWS = 200_000
MAX_FIELD_CHARS = 1_000_000


def read_table(text: str, suffix: str) -> list[Block]:
    """Raises UnreadableDocument for a file that is no table."""
    csv.field_size_limit(MAX_FIELD_CHARS)
    blocks: list[Block] = []
    try:
        rows = csv.reader(io.StringIO(text), delimiter="\t" if suffix == ".tsv" else _delimiter(text))
        header = [name.strip() for name in next(rows, [])]
        line = rows.line_num + 1
        for number, row in enumerate(rows):
            if number >= MAX_ROWS:
                raise UnreadableDocument(f"more than {MAX_ROWS:,} rows")
            cells = [f"{header[i] or i + 1}: {c.strip()}" if i < len(header) else c for i, c in enumerate(row)]
            written = "; ".join(cell for cell, value in zip(cells, row, strict=True) if value.strip())
            if written:
                blocks.append(Block(written, (), line, by_lines=True))
            line = rows.line_num + 1
    except csv.Error as error:
        raise UnreadableDocument(f"broken table ({error})") from error
    return blocks or [Block("; ".join(header), (), 1)]


def _delimiter(text: str) -> str:
    first = text.split("\n", 1)[0]
    return max(",;\t|", key=first.count)
