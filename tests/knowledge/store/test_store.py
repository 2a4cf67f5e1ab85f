"""The file: whole after trouble, without a word of what was deleted, shared by two."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import numpy as np
import pytest

from vortex.errors import StorageError
from vortex.knowledge.chunking import Passage
from vortex.knowledge.documents.blocks import DocumentKind
from vortex.knowledge.embedding import HashEmbedder
from vortex.knowledge.search.search import KnowledgeSearch, SearchOptions
from vortex.knowledge.store.quantised import from_blobs, quantise, to_blobs
from vortex.knowledge.store.records import FileState, NewDocument
from vortex.knowledge.store.store import KnowledgeStore


def document(path: str, *texts: str) -> NewDocument:
    made = tuple(Passage(text, ("Tea",), number, number, 10) for number, text in enumerate(texts, 1))
    state = FileState(size_bytes=1, mtime_ns=1)
    return NewDocument(path=path, kind=DocumentKind.TEXT, title=path, state=state, digest="".join(texts), passages=made)


def embed(store: KnowledgeStore) -> None:
    pending = store.pending(100)
    store.set_vectors([number for number, _ in pending], HashEmbedder().vectors([text for _, text in pending]))


def test_passages_that_read_the_same_keep_their_vectors(store: KnowledgeStore) -> None:
    source = store.add_source("/docs")
    store.use_embedder("hash-256")
    store.put_document(source, document("/docs/a", "One.", "Two."))
    embed(store)
    store.put_document(source, document("/docs/a", "Two.", "Three."))
    assert [text for _, text in store.pending(10)] == ["Tea\nThree."]
    assert store.sources()[0].passages == 2


def test_another_embedder_begins_anew_and_says_so_once(store: KnowledgeStore) -> None:
    store.put_document(store.add_source("/docs"), document("/docs/a", "One."))
    assert not store.use_embedder("hash-256")
    embed(store)
    assert store.use_embedder("other")
    assert not store.use_embedder("other")
    assert store.count_pending() == 1


def test_deleted_words_are_nowhere_in_the_file(store: KnowledgeStore) -> None:
    source = store.add_source("/docs")
    store.use_embedder("hash-256")
    for number in range(50):
        store.put_document(source, document(f"/docs/{number}", f"The xylophone number {number} is kept.", "Filler."))
    store.put_document(source, document("/docs/secret", "The password is zyzzyvas-swordfish."))
    embed(store)
    store.drop_file("/docs/secret")
    store.scrub()
    files = [path.read_bytes() for path in store.path.parent.iterdir()]
    assert not any(b"zyzzyva" in data or b"/docs/secret" in data for data in files)
    assert any(b"xylophone" in data for data in files)
    assert store.connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_dropped_source_takes_everything_along(store: KnowledgeStore) -> None:
    source = store.add_source("/docs")
    store.put_document(source, document("/docs/a", "One."))
    store.leave_out(source, "/docs/b", FileState(size_bytes=1, mtime_ns=1), "binary")
    store.drop_source(source)
    for table in ("sources", "documents", "passages", "vectors", "left_out"):
        assert store.connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)
    assert store.connection.execute("SELECT count(*) FROM word_counts").fetchone() == (0,)


def test_a_full_disk_is_said_and_leaves_the_store_whole(store: KnowledgeStore) -> None:
    source = store.add_source("/docs")
    store.put_document(source, document("/docs/a", "One."))
    store.connection.execute("PRAGMA max_page_count=40")  # SQLite's own way to a disk that is full
    with pytest.raises(StorageError, match="the disk is full"):
        store.put_document(source, document("/docs/b", *("word " * 2000 for _ in range(50))))
    assert [found.documents for found in store.sources()] == [1]
    assert store.connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_damaged_file_and_a_newer_one_are_refused(tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.sqlite3"
    damaged.write_bytes(b"no database at all, " * 100)
    with pytest.raises(StorageError, match="damaged or no knowledge store"):
        KnowledgeStore(damaged)
    newer = tmp_path / "newer.sqlite3"
    with sqlite3.connect(newer) as connection:
        connection.execute("PRAGMA user_version=99")
    connection.close()
    with pytest.raises(StorageError, match="newer Vortex"):
        KnowledgeStore(newer)


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="VORTEX_DATA moves it"):
        KnowledgeStore(tmp_path / "file" / "knowledge.sqlite3")


def test_one_reads_while_another_writes(store: KnowledgeStore) -> None:
    source = store.add_source("/docs")
    reader = KnowledgeStore(store.path)
    search = KnowledgeSearch(reader, None)
    store.put_document(source, document("/docs/a", "The kettle is called Bruno."))
    assert [hit.passage.path for hit in search.search("kettle Bruno")] == ["/docs/a"]
    store.connection.execute("BEGIN IMMEDIATE")
    store.connection.execute("DELETE FROM documents WHERE 0")
    assert search.search("kettle Bruno")
    store.connection.execute("ROLLBACK")
    reader.close()


def test_other_rules_for_words_index_the_store_anew(store: KnowledgeStore) -> None:
    store.put_document(store.add_source("/docs"), document("/docs/a", "The kettle is called Bruno."))
    store.connection.execute("UPDATE meta SET value = 'older' WHERE key = 'terms'")
    reopened = KnowledgeStore(store.path)
    assert KnowledgeSearch(reopened, None).search("kettle Bruno", SearchOptions())
    assert reopened.connection.execute("SELECT doc FROM word_counts WHERE term = 'kettl'").fetchone() == (1,)
    reopened.close()


def test_the_store_is_its_owners_alone(store: KnowledgeStore) -> None:
    assert store.path.stat().st_mode & 0o077 == 0


def test_vectors_are_stored_in_int8_and_lose_little() -> None:
    rows = np.random.default_rng(0).standard_normal((200, 384)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    codes, scales = from_blobs(to_blobs(rows))
    back = codes.astype(np.float32) * scales[:, None]
    assert np.abs(back @ rows.T - rows @ rows.T).max() < 0.01
    assert np.array_equal(codes, quantise(rows)[0])
