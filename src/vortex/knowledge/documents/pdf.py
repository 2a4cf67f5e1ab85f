"""PDF: the text of each page, by pypdf. Pages of pictures have none; nothing is recognised, nothing is run.

Raises UnreadableDocument for what is broken, locked by a password, or without text.
"""

from __future__ import annotations

import io
import logging
import re

from vortex.knowledge.documents.blocks import Block, UnreadableDocument

MAX_PAGES = 5000
MAX_CHARS = 20_000_000
_HYPHEN = re.compile(r"(\w)-\n(?=[a-záéíóúüñ])")


def read_pdf(data: bytes) -> tuple[str, list[Block]]:
    """(title, a block a page; `line` is the page)."""
    import pypdf
    from pypdf.errors import PyPdfError

    logging.getLogger("pypdf").setLevel(logging.CRITICAL)  # it reports every oddity of a file; the result is judged
    try:
        reader = pypdf.PdfReader(io.BytesIO(data))
        if reader.is_encrypted and not reader.decrypt(""):
            raise UnreadableDocument("locked by a password")
        blocks, chars = [], 0
        for number, page in enumerate(reader.pages[:MAX_PAGES], 1):
            text = _HYPHEN.sub(r"\1", page.extract_text() or "").strip()
            chars += len(text)
            if chars > MAX_CHARS:
                raise UnreadableDocument(f"more than {MAX_CHARS:,} characters")
            blocks += [Block(part, (), number) for part in re.split(r"\n\s*\n", text) if part.strip()]
        title = str((reader.metadata.title if reader.metadata else None) or "")
    except UnreadableDocument:
        raise
    except (PyPdfError, ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError, OSError) as error:
        raise UnreadableDocument(f"broken PDF ({type(error).__name__})") from error
    if not blocks:
        raise UnreadableDocument("a PDF without text (pictures of pages?)")
    return title, blocks
