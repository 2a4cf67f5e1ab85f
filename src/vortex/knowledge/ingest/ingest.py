"""Keeping the store as the files are: new and changed files in, vanished ones out, the rest untouched.

Promises that one file is wholly in or not at all, that a broken file stops nothing (it is left out, with the reason),
that a folder which is gone for now loses nothing, and that two ingestions of one store take turns. An unchanged file
costs a look at its size and time.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from vortex.errors import StorageError
from vortex.knowledge.chunking import passages
from vortex.knowledge.documents.blocks import DocumentKind, UnreadableDocument
from vortex.knowledge.documents.worker import DocumentWorker
from vortex.knowledge.embedding import Embedder
from vortex.knowledge.ingest.files import FoundFile, Walk, read_bytes, too_large
from vortex.knowledge.store.records import KnownFile, NewDocument, Source
from vortex.knowledge.store.store import KnowledgeStore
from vortex.records.lock import FileLock

EMBED_BATCH = 64
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestOptions:
    """never: folders whose files are never read (the program's own records, so that nothing recalled comes back)."""

    max_file_bytes: int = 50_000_000
    never: tuple[Path, ...] = ()
    parse_timeout_s: float = 60.0


@dataclass(slots=True, kw_only=True)
class Changes:
    """What a sync did. `left_out`: (path, reason) of files that give no text, also from earlier syncs."""

    added: int = 0
    changed: int = 0
    removed: int = 0
    unchanged: int = 0
    passages: int = 0
    links: int = 0
    left_out: list[tuple[str, str]] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)

    @property
    def is_nothing(self) -> bool:
        return not (self.added or self.changed or self.removed)


class Ingest:
    """say: called with one line about what is going on, often."""

    def __init__(self, store: KnowledgeStore, options: IngestOptions, say: Say = lambda _: None) -> None:
        self._store = store
        self._options = options
        self._say = say

    def add(self, path: Path) -> Changes:
        """A folder or file becomes a source. Raises StorageError where there is none."""
        root = Path(os.path.realpath(path))
        if not root.exists():
            raise StorageError(f"there is no file or folder {path}")
        if any(root == never or never in root.parents for never in self._options.never):
            raise StorageError(f"{path} holds Vortex's own records; what was said or recalled is no source")
        with self._lock():
            source_id = self._store.add_source(str(root))
            return self._sync([source for source in self._store.sources() if source.id == source_id])

    def sync(self) -> Changes:
        """Every source as it is now."""
        with self._lock():
            return self._sync(self._store.sources())

    def remove(self, path: Path) -> int:
        """A source, or documents under a path (until the next sync finds them again). Gives the number of documents.

        Raises StorageError where the store knows nothing of the path.
        """
        root = os.path.realpath(path)
        with self._lock():
            before = sum(source.documents for source in self._store.sources())
            known = [source for source in self._store.sources() if source.root in {root, str(path)}]
            inside = [source for source in self._store.sources() if source.root.startswith(root + os.sep)]
            for source in known or inside:
                self._store.drop_source(source.id)
            if not known and not inside:
                self._drop_under(root, path)
            self._store.scrub(shrink=True)
            return before - sum(source.documents for source in self._store.sources())

    def _drop_under(self, root: str, path: Path) -> None:
        files = [file for source in self._store.sources() for file in self._store.known_files(source.id)]
        found = [file for file in files if file == root or file.startswith(root + os.sep)]
        if not found:
            raise StorageError(f"the store knows nothing of {path}; `vortex knowledge list` shows what it knows")
        for file in found:
            self._store.drop_file(file)

    def _sync(self, sources: Sequence[Source]) -> Changes:
        changes = Changes()
        with DocumentWorker(timeout_s=self._options.parse_timeout_s) as worker:
            for source in sources:
                if not Path(source.root).exists():
                    changes.missing.append(source.root)
                    continue
                self._sync_source(source, worker, changes)
        if changes.changed or changes.removed:
            self._store.scrub()
        return changes

    def _sync_source(self, source: Source, worker: DocumentWorker, changes: Changes) -> None:
        known = self._store.known_files(source.id)
        walk = Walk(Path(source.root), self._options.never)
        seen = set()
        for found in walk:
            seen.add(found.path)
            self._sync_file(source.id, found, known.get(found.path), worker, changes)
        changes.links += walk.links
        for path in known.keys() - seen:
            if any(path.startswith(folder + os.sep) for folder in walk.closed) or not Path(source.root).exists():
                continue  # a folder that cannot be looked into, or went while we looked, tells nothing of its files
            self._store.drop_file(path)
            changes.removed += known[path].reason is None

    def _sync_file(
        self, source_id: int, found: FoundFile, known: KnownFile | None, worker: DocumentWorker, changes: Changes
    ) -> None:
        if known is not None and known.state == found.state:
            if known.reason is not None:
                changes.left_out.append((found.path, known.reason))
            else:
                changes.unchanged += 1
            return
        self._say(found.path)
        try:
            document = self._document(found, known, worker)
        except FileNotFoundError:
            return  # it went between the look and the reading; the next sync sees that
        except UnreadableDocument as error:
            changes.left_out.append((_showable(found.path), str(error)))
            if _showable(found.path) == found.path:
                self._store.leave_out(source_id, found.path, found.state, str(error))
            return
        if document is None:
            self._store.touch(found.path, found.state)
            changes.unchanged += 1
            return
        owner = self._store.owner_of(found.path)
        if owner is not None and owner != source_id:
            changes.unchanged += 1  # two sources overlap: the first one holds it
            return
        self._store.put_document(source_id, document)
        changes.passages += len(document.passages)
        if known is not None and known.reason is None:
            changes.changed += 1
        else:
            changes.added += 1

    def _document(self, found: FoundFile, known: KnownFile | None, worker: DocumentWorker) -> NewDocument | None:
        """None: the bytes are those that are known. Raises UnreadableDocument, FileNotFoundError."""
        if _showable(found.path) != found.path:
            raise UnreadableDocument("its name is no text")
        if found.state.size_bytes > self._options.max_file_bytes:
            raise UnreadableDocument(too_large(found.state.size_bytes, self._options.max_file_bytes))
        data = read_bytes(found.path, self._options.max_file_bytes)
        digest = hashlib.sha256(data).hexdigest()
        if known is not None and known.digest == digest:
            return None
        parsed = worker.parse(found.path, found.kind, data)
        return NewDocument(
            path=found.path,
            kind=found.kind,
            title=parsed.title,
            state=found.state,
            digest=digest,
            passages=tuple(passages(parsed.blocks, pages=found.kind is DocumentKind.PDF)),
        )

    def _lock(self) -> FileLock:
        path = self._store.path.with_suffix(".lock")
        return FileLock(path, on_wait=lambda: self._say(f"another process is at work on {self._store.path}; waiting"))


def embed_pending(store: KnowledgeStore, embedder: Embedder, say: Say = lambda _: None) -> tuple[int, bool]:
    """Vectors for passages that have none: how many, and whether another embedder's vectors went for them."""
    changed = store.use_embedder(embedder.name)
    total, done = store.count_pending(), 0
    while batch := store.pending(EMBED_BATCH):
        rows = embedder.vectors([text for _, text in batch])
        store.set_vectors([passage_id for passage_id, _ in batch], rows)
        done += len(batch)
        say(f"{done:,} of {max(total, done):,} passages embedded")
    return done, changed


def _showable(path: str) -> str:
    return path.encode("utf-8", "replace").decode()
