"""A parser that is attacked goes down alone."""

from __future__ import annotations

import pytest

from vortex.knowledge.documents.blocks import DocumentKind, UnreadableDocument
from vortex.knowledge.documents.worker import DocumentWorker


def test_it_parses_one_document_after_the_other() -> None:
    with DocumentWorker() as worker:
        assert worker.parse("a.md", DocumentKind.MARKDOWN, b"# Tea\n\nIt draws.").title == "Tea"
        with pytest.raises(UnreadableDocument, match="binary"):
            worker.parse("a.txt", DocumentKind.TEXT, b"\0\1\2" * 40)
        assert worker.parse("b.txt", DocumentKind.TEXT, "Más té".encode()).blocks[0].text == "Más té"


def test_a_document_that_takes_too_long_is_left_out_and_the_next_is_read() -> None:
    slow = b"a,b\n" + b"1,2\n" * 150_000
    with DocumentWorker(timeout_s=0.01) as worker, pytest.raises(UnreadableDocument, match="took longer"):
        worker.parse("slow.csv", DocumentKind.TABLE, slow)
    with DocumentWorker() as worker:
        worker._process = worker._start()
        worker._process.kill()
        with pytest.raises(UnreadableDocument, match="gave up"):
            worker.parse("a.txt", DocumentKind.TEXT, b"Tea")
        assert worker.parse("a.txt", DocumentKind.TEXT, b"Tea").blocks[0].text == "Tea"


@pytest.mark.long
def test_memory_has_a_lid() -> None:
    with DocumentWorker(memory_bytes=200 << 20, timeout_s=600) as worker:
        with pytest.raises(UnreadableDocument, match=r"too much to read|gave up"):
            worker.parse("big.md", DocumentKind.MARKDOWN, b"a\n\n" * 2_000_000)
        assert worker.parse("a.txt", DocumentKind.TEXT, b"Tea").blocks[0].text == "Tea"
