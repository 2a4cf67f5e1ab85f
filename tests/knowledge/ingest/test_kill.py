"""Fifty times a process is killed while it adds documents: the store is whole each time, and the end is as without."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from vortex.knowledge.store.store import KnowledgeStore

WRITER = """
import sys
from pathlib import Path
from vortex.knowledge.embedding import HashEmbedder
from vortex.knowledge.ingest.ingest import Ingest, IngestOptions, embed_pending
from vortex.knowledge.store.store import KnowledgeStore
store = KnowledgeStore(Path(sys.argv[1]))
print("ready", flush=True)
Ingest(store, IngestOptions()).add(Path(sys.argv[2]))
embed_pending(store, HashEmbedder())
store.close()
"""


@pytest.mark.long
def test_a_killed_ingestion_leaves_whole_documents(tmp_path: Path) -> None:
    folder, path = tmp_path / "docs", tmp_path / "store" / "knowledge.sqlite3"
    folder.mkdir()
    for number in range(400):
        text = "\n\n".join(f"# Part {part}\n\nDocument {number} speaks of lamp {part}." for part in range(5))
        (folder / f"{number:03}.md").write_text(text)
    chance = random.Random(1)
    killed = 0
    for attempt in range(200):  # a writer that ends before its moment comes is whole too, but proves less
        for number in chance.sample(range(400), 40):
            (folder / f"{number:03}.md").write_text(f"# Changed\n\nBy attempt {attempt}.\n" * 3)
        writer = subprocess.Popen([sys.executable, "-c", WRITER, str(path), str(folder)], stdout=subprocess.PIPE)
        assert writer.stdout is not None
        writer.stdout.readline()
        time.sleep(chance.random() * 0.2)
        writer.send_signal(signal.SIGKILL)
        killed += writer.wait() == -signal.SIGKILL
        writer.stdout.close()
        _assert_whole(path)
        if killed == 50:
            break
    assert killed == 50
    subprocess.run([sys.executable, "-c", WRITER, str(path), str(folder)], check=True, stdout=subprocess.DEVNULL)
    _assert_whole(path)
    store = KnowledgeStore(path)
    assert [source.documents for source in store.sources()] == [400]
    assert store.count_pending() == 0
    store.close()


def _assert_whole(path: Path) -> None:
    store = KnowledgeStore(path)
    ask = store.connection.execute
    assert ask("PRAGMA integrity_check").fetchone() == ("ok",)
    ask("INSERT INTO words(words) VALUES ('integrity-check')")
    passages = ask("SELECT count(*) FROM passages").fetchone()
    assert ask("SELECT count(*) FROM words_docsize").fetchone() == passages
    assert ask("SELECT count(*) FROM documents WHERE id NOT IN (SELECT document_id FROM passages)").fetchone() == (0,)
    assert ask("SELECT count(*) FROM vectors WHERE passage_id NOT IN (SELECT id FROM passages)").fetchone() == (0,)
    store.close()
