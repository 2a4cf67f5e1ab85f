"""The store follows the files; whatever lies among them, it stays whole and says what it left out."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from vortex.errors import StorageError
from vortex.knowledge.embedding import HashEmbedder
from vortex.knowledge.ingest.ingest import Ingest, IngestOptions, embed_pending
from vortex.knowledge.search.search import KnowledgeSearch
from vortex.knowledge.store.store import KnowledgeStore


@pytest.fixture
def ingest(store: KnowledgeStore) -> Ingest:
    return Ingest(store, IngestOptions(max_file_bytes=1_000_000))


def texts(store: KnowledgeStore) -> str:
    return "\n".join(row[0] for row in store.connection.execute("SELECT text FROM passages ORDER BY id"))


def test_only_what_changed_is_read_again(store: KnowledgeStore, ingest: Ingest, folder: Path) -> None:
    assert ingest.add(folder).added == 3
    again = ingest.sync()
    assert (again.added, again.changed, again.removed, again.unchanged) == (0, 0, 0, 3)
    (folder / "tea.md").write_text("# Tea\n\nThe black tea draws for four minutes.\n")
    (folder / "sub" / "lamp.txt").unlink()
    (folder / "new.txt").write_text("A new note about the roof.")
    os.utime(folder / "jardín.md", ns=(1, 1))  # touched, not changed
    changes = ingest.sync()
    assert (changes.added, changes.changed, changes.removed, changes.unchanged) == (1, 1, 1, 1)
    assert "four minutes" in texts(store)
    assert "seven minutes" not in texts(store)
    assert "brass hook" not in texts(store)


def test_one_file_is_a_source_too(store: KnowledgeStore, ingest: Ingest, folder: Path) -> None:
    ingest.add(folder / "tea.md")
    assert [source.root for source in store.sources()] == [str(folder / "tea.md")]
    assert "lamp" not in texts(store)


def test_a_folder_that_vanished_loses_nothing(store: KnowledgeStore, ingest: Ingest, folder: Path) -> None:
    ingest.add(folder)
    folder.rename(folder.with_name("elsewhere"))
    changes = ingest.sync()
    assert changes.missing == [str(folder)]
    assert "seven minutes" in texts(store)


def test_links_are_not_followed(store: KnowledgeStore, ingest: Ingest, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "outside.txt").write_text("A private letter.")
    (folder / "link.txt").symlink_to(tmp_path / "outside.txt")
    (folder / "around").symlink_to(tmp_path)
    (folder / "loop").symlink_to(folder)
    changes = ingest.add(folder)
    assert (changes.added, changes.links) == (3, 3)
    assert "private" not in texts(store)


def test_what_cannot_be_read_is_left_out_with_the_reason(store: KnowledgeStore, ingest: Ingest, folder: Path) -> None:
    with (folder / "huge.txt").open("wb") as file:
        file.truncate(2 << 30)  # two gigabytes that take no room
    (folder / "photo.txt").write_bytes(bytes(range(256)) * 10)
    (folder / "broken.pdf").write_bytes(b"%PDF-1.7\nnonsense")
    os.mkfifo(folder / "pipe.txt")
    (folder / os.fsdecode(b"\xff\xfe.txt")).write_text("A name that is no text.")
    changes = ingest.add(folder)
    reasons = {Path(path).name: reason for path, reason in changes.left_out}
    assert changes.added == 3
    assert "2,147 MB" in reasons["huge.txt"]
    assert "binary" in reasons["photo.txt"]
    assert "broken PDF" in reasons["broken.pdf"]
    assert "its name is no text" in reasons.values()
    assert {Path(path).name for path, _ in store.left_out()} == {"huge.txt", "photo.txt", "broken.pdf"}
    (folder / "photo.txt").write_text("A letter about the garden gate.")
    assert ingest.sync().added == 1


def test_hidden_files_and_folders_of_tools_are_passed_over(ingest: Ingest, folder: Path) -> None:
    for name in (".git", "node_modules", "__pycache__"):
        (folder / name).mkdir()
        (folder / name / "a.txt").write_text("Nobody wants this.")
    (folder / ".secret.md").write_text("Nobody wants this.")
    assert ingest.add(folder).added == 3


def test_the_programs_own_records_are_no_source(store: KnowledgeStore, folder: Path) -> None:
    own = folder / "data"
    (own / "memory").mkdir(parents=True)
    (own / "memory" / "fact.md").write_text("What was recalled comes back.")
    ingest = Ingest(store, IngestOptions(never=(own,)))
    assert ingest.add(folder).added == 3
    with pytest.raises(StorageError, match="own records"):
        ingest.add(own / "memory")


def test_removing_forgets_and_scrubs(store: KnowledgeStore, ingest: Ingest, folder: Path) -> None:
    ingest.add(folder)
    assert ingest.remove(folder / "sub" / "lamp.txt") == 1
    assert ingest.remove(folder) == 2
    assert store.sources() == []
    assert not any(b"Bruno" in path.read_bytes() for path in store.path.parent.iterdir())
    with pytest.raises(StorageError, match="knows nothing of"):
        ingest.remove(folder)


def test_nothing_to_add_is_said(ingest: Ingest, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="no file or folder"):
        ingest.add(tmp_path / "nowhere")


def test_overlapping_sources_hold_a_file_once(store: KnowledgeStore, ingest: Ingest, folder: Path) -> None:
    ingest.add(folder)
    ingest.add(folder / "sub")
    assert [source.documents for source in store.sources()] == [3, 0]


def test_embedding_goes_on_where_it_stopped(store: KnowledgeStore, ingest: Ingest, folder: Path) -> None:
    ingest.add(folder)
    store.use_embedder("hash-256")
    first = store.pending(1)
    store.set_vectors([first[0][0]], HashEmbedder().vectors(["x"]))
    assert embed_pending(store, HashEmbedder()) == (2, False)
    assert store.count_pending() == 0


def test_two_writers_take_turns(store: KnowledgeStore, folder: Path) -> None:
    def add(number: int) -> None:
        own = KnowledgeStore(store.path)
        place = folder.with_name(f"more{number}")
        place.mkdir()
        for file in range(5):
            (place / f"{file}.txt").write_text(f"Note {file} of writer {number}.")
        Ingest(own, IngestOptions()).add(place)
        own.close()

    writers = [threading.Thread(target=add, args=(number,)) for number in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert sum(source.documents for source in store.sources()) == 15
    assert KnowledgeSearch(store, None).search("note 3 of writer 2")
