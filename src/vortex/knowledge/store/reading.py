"""What a search reads from the store: passages by their numbers, documents by what a filter asks."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vortex.knowledge.documents.blocks import DocumentKind
from vortex.knowledge.store.records import StoredPassage
from vortex.knowledge.store.store import KnowledgeStore


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """sources: folders or files, as paths or their endings. since, until: of the file's time, Unix seconds."""

    sources: tuple[str, ...] | None = None
    since: float | None = None
    until: float | None = None

    @property
    def is_open(self) -> bool:
        return self.sources is None and self.since is None and self.until is None

    def takes(self, path: str, modified: float) -> bool:
        if self.since is not None and modified < self.since:
            return False
        if self.until is not None and modified > self.until:
            return False
        return self.sources is None or any(_is_of(path, source) for source in self.sources)


EVERYTHING = Filter()


def passages_by_id(store: KnowledgeStore, ids: Sequence[int]) -> dict[int, StoredPassage]:
    """Those that are still there."""
    rows = store.connection.execute(
        """SELECT p.id, d.path, d.kind, d.title, p.heading, p.text, p.line, p.last_line, d.mtime_ns
           FROM passages p JOIN documents d ON d.id = p.document_id WHERE p.id IN (SELECT value FROM json_each(?))""",
        (json.dumps(list(ids)),),
    )
    return {
        number: StoredPassage(
            id=number,
            path=path,
            kind=DocumentKind(kind),
            title=title,
            heading=heading,
            text=text,
            line=line,
            last_line=last_line,
            modified=mtime_ns / 1e9,
        )
        for number, path, kind, title, heading, text, line, last_line, mtime_ns in rows
    }


def allowed_passages(store: KnowledgeStore, wanted: Filter) -> np.ndarray | None:
    """Ids that a filter leaves, ascending; None: all of them."""
    if wanted.is_open:
        return None
    rows = store.connection.execute("SELECT id, path, mtime_ns FROM documents").fetchall()
    documents = [number for number, path, mtime_ns in rows if wanted.takes(path, mtime_ns / 1e9)]
    found = store.connection.execute(
        "SELECT id FROM passages WHERE document_id IN (SELECT value FROM json_each(?)) ORDER BY id",
        (json.dumps(documents),),
    )
    return np.fromiter((row[0] for row in found), np.int64)


def _is_of(path: str, source: str) -> bool:
    """The file itself, a folder above it, or an ending of its path (`docs/c3.md`)."""
    asked = source.rstrip("/\\")
    if not asked:
        return False
    given = Path(asked)
    whole = os.path.realpath(given) if given.is_absolute() or given.exists() else asked
    folder = whole if whole.endswith(os.sep) else whole + os.sep
    return path == whole or path.startswith(folder) or path.endswith(os.sep + asked)
