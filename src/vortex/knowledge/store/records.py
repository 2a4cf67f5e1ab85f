"""What the store hands out and takes in."""

from __future__ import annotations

from dataclasses import dataclass

from vortex.knowledge.chunking import Passage
from vortex.knowledge.documents.blocks import DocumentKind

HEADING_JOIN = " › "


@dataclass(frozen=True, slots=True, kw_only=True)
class FileState:
    """What tells an unchanged file without reading it. mtime_ns: nanoseconds since 1970."""

    size_bytes: int
    mtime_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NewDocument:
    path: str
    kind: DocumentKind
    title: str
    state: FileState
    digest: str  # SHA-256 of the bytes, hexadecimal
    passages: tuple[Passage, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownFile:
    """A file the store has seen. `reason`: why it was left out; None for a document."""

    state: FileState
    digest: str = ""
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    id: int
    root: str
    added: float
    documents: int
    passages: int
    not_embedded: int
    left_out: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredPassage:
    """`line`, `last_line`: of the file, from 1; of a PDF the pages. `modified`: Unix seconds."""

    id: int
    path: str
    kind: DocumentKind
    title: str
    heading: str
    text: str
    line: int
    last_line: int
    modified: float

    @property
    def place(self) -> str:
        unit = "page" if self.kind is DocumentKind.PDF else "line"
        return f"{unit} {self.line}" if self.line == self.last_line else f"{unit}s {self.line}-{self.last_line}"
