"""A store of its own for each test, and the words' own embedder in place of a model's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from vortex.knowledge.embedding import HashEmbedder
from vortex.knowledge.store.store import FILE_NAME, KnowledgeStore


@pytest.fixture
def store(tmp_path: Path) -> Iterator[KnowledgeStore]:
    opened = KnowledgeStore(tmp_path / "store" / FILE_NAME)
    yield opened
    opened.close()


@pytest.fixture
def embedder() -> HashEmbedder:
    return HashEmbedder()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three documents about different things."""
    made = tmp_path / "docs"
    (made / "sub").mkdir(parents=True)
    (made / "tea.md").write_text(
        "# Tea\n\n## Brewing\n\nThe green tea draws for seven minutes. The kettle is called Bruno.\n"
    )
    (made / "sub" / "lamp.txt").write_text("The lamp in the hall is green and it hangs from a brass hook.\n")
    (made / "jardín.md").write_text("# Jardín\n\nLos rosales se podan en febrero, antes de la última helada.\n")
    return made
