"""Finding what is remembered by meaning: the nearest entries above a threshold, about the same subject.

Promises that an entry changed on disk is found as it is now; that vectors are computed once for a text (kept beside
the entries, a cache that may be deleted). Does not write entries. One thread at a time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from vortex.knowledge.embedding import Embedder
from vortex.knowledge.memory.entries import Entry, Kind
from vortex.knowledge.memory.folder import Memory, Signature
from vortex.knowledge.memory.subject import same_subject
from vortex.records.atomic import atomic_write

THRESHOLD = 0.65  # cosine; docs/knowledge.md has the figures it was chosen by
CACHE_FILE = "vectors.safetensors"


@dataclass(frozen=True, slots=True)
class Recalled:
    """`similarity`: cosine of the nearest of the entry's texts."""

    entry: Entry
    similarity: float


class Recall:
    """`guard`: entries about another subject do not count, however near they are."""

    def __init__(self, memory: Memory, embedder: Embedder, *, threshold: float = THRESHOLD, guard: bool = True) -> None:
        self._memory = memory
        self._embedder = embedder
        self._threshold = threshold
        self._guard = guard
        self._signature: Signature | None = None
        self._entries: list[Entry] = []
        self._owners: list[int] = []  # of each row, the entry
        self._rows = np.empty((0, 0), np.float32)  # [texts, width]

    def nearest(
        self, question: str, *, kind: Kind | None = None, limit: int = 1, but: Callable[[Entry], bool] = lambda _: False
    ) -> list[Recalled]:
        """Best first; empty where nothing is near enough. `but`: entries to leave out."""
        self._refresh()
        if not self._entries:
            return []
        scores = self._rows @ self._embedder.vectors([question])[0]
        best: dict[int, float] = {}
        for row, owner in enumerate(self._owners):
            best[owner] = max(best.get(owner, -1.0), float(scores[row]))
        found: list[Recalled] = []
        for owner, score in sorted(best.items(), key=lambda item: (-item[1], item[0])):
            entry = self._entries[owner]
            if score < self._threshold or len(found) == limit:
                break
            if (kind is not None and entry.kind is not kind) or but(entry):
                continue
            if not self._guard or same_subject(entry.text, question, entry.question):
                found.append(Recalled(entry, score))
        return found

    def _refresh(self) -> None:
        signature = self._memory.signature()
        if signature == self._signature:
            return
        entries = self._memory.entries()
        texts = [text for entry in entries for text in entry.texts]
        self._rows = self._vectors(texts)
        self._owners = [index for index, entry in enumerate(entries) for _ in entry.texts]
        self._entries, self._signature = entries, signature

    def _vectors(self, texts: Sequence[str]) -> np.ndarray:
        keys = [self._key(text) for text in texts]
        known = self._load()
        missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in known}
        if missing:
            rows = self._embedder.vectors(list(missing.values()))
            known |= dict(zip(missing, rows, strict=True))
            self._save({key: known[key] for key in keys})
        return np.stack([known[key] for key in keys]) if keys else np.empty((0, 0), np.float32)

    def _key(self, text: str) -> str:
        return hashlib.blake2b(f"{self._embedder.name}\0{text}".encode(), digest_size=16).hexdigest()

    def _load(self) -> dict[str, np.ndarray]:
        try:
            return dict(load_file(self._memory.folder / CACHE_FILE))
        except (FileNotFoundError, SafetensorError):
            return {}  # a cache: whatever is wrong with it, the texts are there to begin anew

    def _save(self, rows: dict[str, np.ndarray]) -> None:
        with atomic_write(self._memory.folder / CACHE_FILE) as file:
            file.write(save(rows))
