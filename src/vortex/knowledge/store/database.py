"""The SQLite file itself: opened with what makes it survive a crash, its tables, its errors in words.

Promises: write-ahead log, so that readers go on while one writes and a `kill -9` leaves the last whole transaction
(a power cut may take the last few, which the next sync brings back); what is deleted is overwritten (secure_delete).
A store of a newer program is refused, not guessed at.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vortex.errors import StorageError

SCHEMA_VERSION = 1
WAIT_FOR_WRITER_S = 30.0

_TABLES = """
CREATE TABLE meta(key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE sources(id INTEGER PRIMARY KEY, root TEXT NOT NULL UNIQUE, added REAL NOT NULL);
CREATE TABLE documents(
    id INTEGER PRIMARY KEY, source_id INTEGER NOT NULL REFERENCES sources(id), path TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL, title TEXT NOT NULL, size_bytes INTEGER NOT NULL, mtime_ns INTEGER NOT NULL,
    digest TEXT NOT NULL, added REAL NOT NULL);
CREATE INDEX documents_of ON documents(source_id);
CREATE TABLE left_out(
    path TEXT PRIMARY KEY, source_id INTEGER NOT NULL REFERENCES sources(id), reason TEXT NOT NULL,
    size_bytes INTEGER NOT NULL, mtime_ns INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE passages(
    id INTEGER PRIMARY KEY AUTOINCREMENT, document_id INTEGER NOT NULL REFERENCES documents(id),
    heading TEXT NOT NULL, text TEXT NOT NULL, line INTEGER NOT NULL, last_line INTEGER NOT NULL,
    tokens INTEGER NOT NULL);
CREATE INDEX passages_of ON passages(document_id);
CREATE TABLE vectors(passage_id INTEGER PRIMARY KEY, vector BLOB NOT NULL);
CREATE VIRTUAL TABLE words USING fts5(heading, body, content='');
CREATE VIRTUAL TABLE word_counts USING fts5vocab(words, 'row');
"""


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """What SQLite says, as a StorageError that names the fix."""
    try:
        yield
    except sqlite3.OperationalError as error:
        text = str(error)
        if "full" in text or "disk I/O" in text:
            fix = "the disk is full or failing; free some space and run `vortex knowledge sync`"
        elif "locked" in text or "busy" in text:
            fix = "another process is writing to it; try again when it is done"
        elif "readonly" in text or "unable to open" in text:
            fix = "it cannot be written there; VORTEX_DATA moves it"
        else:
            fix = text
        raise StorageError(f"{path}: {fix}") from error
    except sqlite3.DatabaseError as error:
        raise StorageError(
            f"{path} is damaged or no knowledge store ({error}); move it away and `vortex knowledge add` again"
        ) from error


def connect(path: Path) -> sqlite3.Connection:
    """The store at `path`, made where it is not there yet, readable by its owner alone. Raises StorageError."""
    with storage_errors(path):
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            path.touch(mode=0o600)
        except OSError as error:
            raise StorageError(f"{path} cannot be written: {error.strerror}; VORTEX_DATA moves it") from error
        connection = sqlite3.connect(path, timeout=WAIT_FOR_WRITER_S, isolation_level=None)
        try:
            for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "secure_delete=ON", "foreign_keys=ON"):
                connection.execute(f"PRAGMA {pragma}")
            connection.execute("PRAGMA mmap_size=268435456")
            _prepare(connection, path)
        except BaseException:
            connection.close()
            raise
    return connection


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All of the block, or nothing of it."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > SCHEMA_VERSION:
        raise StorageError(f"{path} was written by a newer Vortex (form {version}); update Vortex, or move it away")
    if version == SCHEMA_VERSION:
        return
    with transaction(connection):
        if connection.execute("PRAGMA user_version").fetchone()[0] == SCHEMA_VERSION:
            return  # another process was first
        for statement in _TABLES.split(";\n"):
            if statement.strip():
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
