"""Reading and writing the store: every change is one transaction, so a crash leaves documents whole or as before.

Vectors come after passages (`pending`, `set_vectors`): a document can be found by its words at once, and an ingestion
that was cut off goes on where it stopped. One object a thread; several processes may read while one writes.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from vortex.knowledge.chunking import Passage
from vortex.knowledge.store.database import connect, storage_errors, transaction
from vortex.knowledge.store.quantised import to_blobs
from vortex.knowledge.store.records import (
    HEADING_JOIN,
    FileState,
    KnownFile,
    NewDocument,
    Source,
)
from vortex.knowledge.terms import VERSION as TERMS_VERSION
from vortex.knowledge.terms import terms

FILE_NAME = "knowledge.sqlite3"


class KnowledgeStore:
    """Raises StorageError. Close it after use."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.connection = connect(path)
        self._refresh_terms()

    def close(self) -> None:
        self.connection.close()

    # --- sources and files -------------------------------------------------------------------------------------------

    def add_source(self, root: str) -> int:
        """Its id, also where it was known."""
        with self._writing():
            self.connection.execute("INSERT OR IGNORE INTO sources(root, added) VALUES (?, ?)", (root, time.time()))
        return int(self._one("SELECT id FROM sources WHERE root = ?", root))

    def sources(self) -> list[Source]:
        """In the order they were added."""
        rows = self.connection.execute(
            """SELECT id, root, added,
               (SELECT count(*) FROM documents WHERE source_id = s.id),
               (SELECT count(*) FROM passages p JOIN documents d ON d.id = p.document_id WHERE d.source_id = s.id),
               (SELECT count(*) FROM passages p JOIN documents d ON d.id = p.document_id
                LEFT JOIN vectors v ON v.passage_id = p.id WHERE d.source_id = s.id AND v.passage_id IS NULL),
               (SELECT count(*) FROM left_out WHERE source_id = s.id)
               FROM sources s ORDER BY id"""
        )
        return [
            Source(id=i, root=root, added=added, documents=d, passages=p, not_embedded=n, left_out=o)
            for i, root, added, d, p, n, o in rows
        ]

    def known_files(self, source_id: int) -> dict[str, KnownFile]:
        """By path: the documents of a source, and what was left out."""
        found = {}
        rows = self.connection.execute(
            "SELECT path, size_bytes, mtime_ns, digest FROM documents WHERE source_id = ?", (source_id,)
        )
        for path, size, mtime, digest in rows:
            found[path] = KnownFile(state=FileState(size_bytes=size, mtime_ns=mtime), digest=digest)
        for path, size, mtime, reason in self.connection.execute(
            "SELECT path, size_bytes, mtime_ns, reason FROM left_out WHERE source_id = ?", (source_id,)
        ):
            found[path] = KnownFile(state=FileState(size_bytes=size, mtime_ns=mtime), reason=reason)
        return found

    def left_out(self) -> list[tuple[str, str]]:
        """(path, reason), by path."""
        return list(self.connection.execute("SELECT path, reason FROM left_out ORDER BY path"))

    def owner_of(self, path: str) -> int | None:
        """The source that a document belongs to."""
        row = self.connection.execute("SELECT source_id FROM documents WHERE path = ?", (path,)).fetchone()
        return int(row[0]) if row else None

    # --- changes -----------------------------------------------------------------------------------------------------

    def put_document(self, source_id: int, document: NewDocument) -> None:
        """In place of an older form of it; passages that read the same keep their vectors."""
        with self._writing():
            kept = self._vectors_by_text(document.path)
            self._drop_document(document.path)
            self.connection.execute("DELETE FROM left_out WHERE path = ?", (document.path,))
            row = (
                source_id,
                document.path,
                document.kind.value,
                document.title,
                document.state.size_bytes,
                document.state.mtime_ns,
                document.digest,
                time.time(),
            )
            cursor = self.connection.execute(
                "INSERT INTO documents(source_id, path, kind, title, size_bytes, mtime_ns, digest, added)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                row,
            )
            for passage in document.passages:
                self._insert_passage(int(cursor.lastrowid or 0), passage, kept)

    def touch(self, path: str, state: FileState) -> None:
        """The file is another, its bytes are not."""
        with self._writing():
            self.connection.execute(
                "UPDATE documents SET size_bytes = ?, mtime_ns = ? WHERE path = ?",
                (state.size_bytes, state.mtime_ns, path),
            )

    def leave_out(self, source_id: int, path: str, state: FileState, reason: str) -> None:
        """Remembered, so that the file is not tried again until it changes. An older form of it goes."""
        with self._writing():
            self._drop_document(path)
            self.connection.execute(
                "INSERT OR REPLACE INTO left_out(path, source_id, reason, size_bytes, mtime_ns) VALUES (?, ?, ?, ?, ?)",
                (path, source_id, reason, state.size_bytes, state.mtime_ns),
            )

    def drop_file(self, path: str) -> None:
        with self._writing():
            self._drop_document(path)
            self.connection.execute("DELETE FROM left_out WHERE path = ?", (path,))

    def drop_source(self, source_id: int) -> None:
        with self._writing():
            for (path,) in self.connection.execute(
                "SELECT path FROM documents WHERE source_id = ?", (source_id,)
            ).fetchall():
                self._drop_document(path)
            self.connection.execute("DELETE FROM left_out WHERE source_id = ?", (source_id,))
            self.connection.execute("DELETE FROM sources WHERE id = ?", (source_id,))

    def scrub(self, *, shrink: bool = False) -> None:
        """After deletions: no word of what went is left in the file or its log. `shrink`: give the space back."""
        with storage_errors(self.path):
            self.connection.execute("INSERT INTO words(words) VALUES ('optimize')")
            if shrink:
                self.connection.execute("VACUUM")
            self.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    # --- vectors -----------------------------------------------------------------------------------------------------

    def use_embedder(self, name: str) -> bool:
        """Vectors of another embedder go; True where there were any."""
        if self.meta("embedder") == name:
            return False
        with self._writing():
            had_any = self.connection.execute("SELECT 1 FROM vectors LIMIT 1").fetchone() is not None
            self.connection.execute("DELETE FROM vectors")
            self._set_meta("embedder", name)
            self._set_meta("vectors_epoch", str(int(self.meta("vectors_epoch") or 0) + 1))
        return had_any

    def count_pending(self) -> int:
        return int(self._one("SELECT (SELECT count(*) FROM passages) - (SELECT count(*) FROM vectors)"))

    def pending(self, limit: int) -> list[tuple[int, str]]:
        """(id, what to embed) of passages without a vector: the headings over them and their text."""
        rows = self.connection.execute(
            """SELECT p.id, d.title, p.heading, p.text FROM passages p JOIN documents d ON d.id = p.document_id
               LEFT JOIN vectors v ON v.passage_id = p.id WHERE v.passage_id IS NULL ORDER BY p.id LIMIT ?""",
            (limit,),
        )
        return [(i, f"{heading or title}\n{text}") for i, title, heading, text in rows]

    def set_vectors(self, ids: Sequence[int], rows: np.ndarray) -> None:
        """rows [n, width] float32. A passage that went meanwhile is passed over."""
        with self._writing():
            self.connection.executemany(
                "INSERT OR REPLACE INTO vectors(passage_id, vector)"
                " SELECT ?1, ?2 WHERE EXISTS (SELECT 1 FROM passages WHERE id = ?1)",
                list(zip(ids, to_blobs(rows), strict=True)),
            )

    # --- inside ------------------------------------------------------------------------------------------------------

    def meta(self, key: str) -> str | None:
        row = self.connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return str(row[0]) if row else None

    def generation(self) -> int:
        """Grows with every change, whoever makes it."""
        return int(self.meta("generation") or 0)

    def _set_meta(self, key: str, value: str) -> None:
        self.connection.execute("INSERT OR REPLACE INTO meta(key, value) VALUES (?, ?)", (key, value))

    def _one(self, statement: str, *values: object) -> int:
        with storage_errors(self.path):
            return int(self.connection.execute(statement, values).fetchone()[0])

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """All of the block or nothing; readers see by the `generation` that something changed."""
        with storage_errors(self.path), transaction(self.connection):
            yield
            self._set_meta("generation", str(self.generation() + 1))

    def _vectors_by_text(self, path: str) -> dict[tuple[str, str], bytes]:
        rows = self.connection.execute(
            """SELECT p.heading, p.text, v.vector FROM passages p JOIN documents d ON d.id = p.document_id
               JOIN vectors v ON v.passage_id = p.id WHERE d.path = ?""",
            (path,),
        )
        return {(heading, text): vector for heading, text, vector in rows}

    def _insert_passage(self, document_id: int, passage: Passage, kept: dict[tuple[str, str], bytes]) -> None:
        heading = HEADING_JOIN.join(passage.heading)
        cursor = self.connection.execute(
            "INSERT INTO passages(document_id, heading, text, line, last_line, tokens) VALUES (?, ?, ?, ?, ?, ?)",
            (document_id, heading, passage.text, passage.line, passage.last_line, passage.tokens),
        )
        self.connection.execute(
            "INSERT INTO words(rowid, heading, body) VALUES (?, ?, ?)",
            (cursor.lastrowid, *_words(heading, passage.text)),
        )
        vector = kept.get((heading, passage.text))
        if vector is not None:
            self.connection.execute("INSERT INTO vectors VALUES (?, ?)", (cursor.lastrowid, vector))

    def _drop_document(self, path: str) -> None:
        row = self.connection.execute("SELECT id FROM documents WHERE path = ?", (path,)).fetchone()
        if row is None:
            return
        passages = self.connection.execute(
            "SELECT id, heading, text FROM passages WHERE document_id = ?", row
        ).fetchall()
        self.connection.executemany(
            "INSERT INTO words(words, rowid, heading, body) VALUES ('delete', ?, ?, ?)",
            [(i, *_words(heading, text)) for i, heading, text in passages],
        )
        self.connection.executemany("DELETE FROM vectors WHERE passage_id = ?", [(i,) for i, _, _ in passages])
        self.connection.execute("DELETE FROM passages WHERE document_id = ?", row)
        self.connection.execute("DELETE FROM documents WHERE id = ?", row)

    def _refresh_terms(self) -> None:
        """A store whose words were cut by other rules is indexed anew, from the texts it holds."""
        if self.meta("terms") == TERMS_VERSION:
            return
        with self._writing():
            if self.meta("terms") is not None:
                self.connection.execute("INSERT INTO words(words) VALUES ('delete-all')")
                rows = self.connection.execute("SELECT id, heading, text FROM passages").fetchall()
                for i, heading, text in rows:
                    values = (i, *_words(heading, text))
                    self.connection.execute("INSERT INTO words(rowid, heading, body) VALUES (?, ?, ?)", values)
            self._set_meta("terms", TERMS_VERSION)


def _words(heading: str, text: str) -> tuple[str, str]:
    return " ".join(terms(heading)), " ".join(terms(text))
