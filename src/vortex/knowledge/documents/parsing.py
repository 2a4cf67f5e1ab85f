"""A file's bytes to a parsed document, by its kind. Pure: no file is opened here.

Raises UnreadableDocument with the reason in a few words. What hostile bytes may do to a parser (time, memory, a crash)
is held by the process that this runs in: see worker.py.
"""

from __future__ import annotations

import re
from pathlib import PurePath

from vortex.knowledge.documents.blocks import Block, DocumentKind, ParsedDocument, UnreadableDocument
from vortex.knowledge.documents.code import read_code
from vortex.knowledge.documents.decoding import decode, visible
from vortex.knowledge.documents.html import read_html
from vortex.knowledge.documents.kinds import is_pdf
from vortex.knowledge.documents.markdown import read_markdown
from vortex.knowledge.documents.pdf import read_pdf
from vortex.knowledge.documents.plain import read_plain
from vortex.knowledge.documents.table import read_table

MAX_TITLE_CHARS = 200
_CHARSET = re.compile(rb"""<meta[^>]+charset\s*=\s*["']?([A-Za-z0-9_-]+)""", re.IGNORECASE)


def parse(name: str, kind: DocumentKind, data: bytes) -> ParsedDocument:
    path = PurePath(name)
    title, blocks = _read(path, kind, data)
    blocks = [Block(visible(block.text), block.heading, block.line, block.by_lines) for block in blocks]
    blocks = [block for block in blocks if block.text.strip()]
    if not blocks:
        raise UnreadableDocument("no text in it")
    title = title or _first_heading(kind, blocks) or path.name
    return ParsedDocument(visible(title)[:MAX_TITLE_CHARS], tuple(blocks))


def _read(path: PurePath, kind: DocumentKind, data: bytes) -> tuple[str, list[Block]]:
    suffix = path.suffix.lower()
    if kind is DocumentKind.PDF or (is_pdf(data) and kind is not DocumentKind.CODE):
        return read_pdf(data)
    if kind is DocumentKind.HTML:
        return read_html(_html_text(data))
    text = decode(data)
    if kind is DocumentKind.MARKDOWN:
        return "", read_markdown(text)
    if kind is DocumentKind.TABLE:
        return "", read_table(text, suffix)
    if kind is DocumentKind.CODE:
        return "", read_code(text, suffix)
    return "", read_plain(text)


def _html_text(data: bytes) -> str:
    """As the page says, where it says something that exists and is no UTF-8; else as any text."""
    declared = _CHARSET.search(data[:4096])
    if declared is not None and b"\0" not in data[:4096]:
        try:
            return visible(data.decode(declared[1].decode()))
        except (LookupError, UnicodeDecodeError):
            return decode(data)
    return decode(data)


def _first_heading(kind: DocumentKind, blocks: list[Block]) -> str:
    if kind in {DocumentKind.MARKDOWN, DocumentKind.TEXT, DocumentKind.HTML}:
        return next((block.heading[0] for block in blocks if block.heading), "")
    return ""
