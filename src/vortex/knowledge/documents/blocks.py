"""What a document is read into: blocks of text in order, each under its path of headings, each with its place."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class DocumentKind(StrEnum):
    TEXT = "text"
    MARKDOWN = "markdown"
    HTML = "html"
    PDF = "pdf"
    CODE = "code"
    TABLE = "table"


@dataclass(frozen=True, slots=True)
class Block:
    """What reads as one: a paragraph, a list, a code block, a function, a row of a table.

    line: of the file, from 1; of a PDF the page. by_lines: cut at line ends where it must be cut, not at sentences.
    """

    text: str
    heading: tuple[str, ...] = ()
    line: int = 1
    by_lines: bool = False


@dataclass(frozen=True, slots=True)
class ParsedDocument:
    title: str
    blocks: tuple[Block, ...] = field(default=())

    def to_json(self) -> dict[str, Any]:
        rows = [[block.text, list(block.heading), block.line, block.by_lines] for block in self.blocks]
        return {"title": self.title, "blocks": rows}

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> ParsedDocument:
        rows = record["blocks"]
        return cls(
            str(record["title"]),
            tuple(Block(text, tuple(heading), line, by_lines) for text, heading, line, by_lines in rows),
        )


class UnreadableDocument(Exception):
    """Why a file gives no text, in a few words; it is left out and listed with them."""
