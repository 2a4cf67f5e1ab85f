"""The agent's tools on knowledge over the real store, memory and documents."""

from __future__ import annotations

from pathlib import Path

import pytest

from vortex.agent.tools.knowing import document_tool, knowledge_tools
from vortex.cli.agent_knowledge import AgentDocuments, AgentKnowledge
from vortex.cli.knowing import open_memory, open_store
from vortex.config.schema import RagSettings, Settings
from vortex.errors import MissingCapability, StorageError
from vortex.knowledge.ingest.ingest import Ingest, IngestOptions

SETTINGS = Settings(rag=RagSettings(embedder="none"))


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("VORTEX_DATA", raising=False)
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "tea.md").write_text("# Tea\n\nThe green tea draws for seven minutes.\n")
    return tmp_path


def test_retrieved_passages_come_from_outside(work: Path) -> None:
    with open_store() as store:
        Ingest(store, IngestOptions()).add(work / "docs")
    (known,) = AgentKnowledge(SETTINGS).retrieve("how long does the green tea draw", 3)
    assert "seven minutes" in known.text
    assert known.source.endswith("tea.md, line 3")
    assert known.from_outside


def test_the_tools_work_with_it(work: Path) -> None:
    tools = {tool.name: tool for tool in knowledge_tools(AgentKnowledge(SETTINGS))}
    assert set(tools) == {"remember", "recall", "retrieve"}
    entry_id = AgentKnowledge(SETTINGS).remember("The kettle is called Bruno.")
    assert [(entry.id, entry.source) for entry in open_memory().entries()] == [(entry_id, "tool")]
    with pytest.raises(MissingCapability, match="vortex pull"):
        AgentKnowledge(SETTINGS).recall("kettle", 3)


def test_documents_of_the_folder_alone_are_opened(work: Path) -> None:
    documents = AgentDocuments(work / "docs", SETTINGS)
    assert documents.open("tea.md") == ("Tea", "The green tea draws for seven minutes.")
    assert document_tool(documents).name == "open_document"
    (work / "secret.txt").write_text("A private letter.")
    (work / "docs" / "link.txt").symlink_to(work / "secret.txt")
    (work / "docs" / "photo.txt").write_bytes(bytes(range(256)))
    for path, said in (
        ("../secret.txt", "not in"),
        ("link.txt", "not in"),
        ("no.txt", "no file"),
        ("photo.txt", "binary"),
    ):
        with pytest.raises(StorageError, match=said):
            documents.open(path)
