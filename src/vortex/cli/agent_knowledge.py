"""What the agent's tools on knowledge work with: the memory and the store of this working folder, documents by path.

Remembered facts are a person's; passages of documents count as from outside, whoever wrote them: policy must not let
them give orders. `remember` is called only where the agent's policy allowed it (a person said yes).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vortex.agent.tools.knowing import Known
from vortex.cli.knowing import ingest_options, open_embedder, open_memory, open_store, search_options
from vortex.config.schema import Settings
from vortex.errors import MissingCapability, StorageError
from vortex.knowledge.documents.blocks import DocumentKind, UnreadableDocument
from vortex.knowledge.documents.kinds import kind_of
from vortex.knowledge.documents.worker import DocumentWorker
from vortex.knowledge.ingest.files import read_bytes
from vortex.knowledge.memory.recall import Recall
from vortex.knowledge.search.search import KnowledgeSearch
from vortex.knowledge.search.vectors import VectorIndex


class AgentKnowledge:
    """A `vortex.agent.tools.knowing.Knowledge`. One thread at a time."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._embedder = open_embedder(settings, fetch=False)
        self._memory = open_memory()
        self._recall = Recall(self._memory, self._embedder) if self._embedder else None
        self._index = VectorIndex()

    def remember(self, statement: str) -> str:
        """Raises RequestError for nothing or too much."""
        return self._memory.add(statement, source="tool").id

    def recall(self, question: str, limit: int) -> Sequence[Known]:
        """Raises MissingCapability without an embedder."""
        if self._recall is None:
            raise MissingCapability("recalling needs the embedder: vortex pull all-minilm-l6-v2")
        found = self._recall.nearest(question, limit=limit)
        return [Known(one.entry.id, one.entry.text, f"memory/{one.entry.id}") for one in found]

    def retrieve(self, question: str, limit: int) -> Sequence[Known]:
        from dataclasses import replace

        options = replace(search_options(self._settings), top_k=limit)
        with open_store() as store:
            hits = KnowledgeSearch(store, self._embedder, index=self._index).search(question, options)
        return [
            Known(str(number), hit.passage.text, f"{hit.passage.path}, {hit.passage.place}", from_outside=True)
            for number, hit in enumerate(hits, 1)
        ]


class AgentDocuments:
    """A `vortex.agent.tools.knowing.Documents`: files beneath `root` and nowhere else."""

    def __init__(self, root: Path, settings: Settings) -> None:
        self._root = root.resolve()
        self._options = ingest_options(settings)

    def open(self, path: str) -> tuple[str, str]:
        """(title, text). Raises StorageError for a path that leads out, is not there, or gives no text."""
        whole = (self._root / path).resolve()
        if not whole.is_relative_to(self._root):
            raise StorageError(f"{path} is not in the working folder")
        try:
            data = read_bytes(str(whole), self._options.max_file_bytes)
            with DocumentWorker(timeout_s=self._options.parse_timeout_s) as worker:
                parsed = worker.parse(whole.name, kind_of(whole.name) or DocumentKind.TEXT, data)
        except FileNotFoundError as error:
            raise StorageError(f"there is no file {path}") from error
        except UnreadableDocument as error:
            raise StorageError(f"{path}: {error}") from error
        return parsed.title, "\n\n".join(block.text for block in parsed.blocks)
