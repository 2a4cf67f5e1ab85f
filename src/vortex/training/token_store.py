"""Documents as one long row of tokens on disk, mapped and not read: training data of any size in little memory.

    FOLDER/  train.tokens, held_out.tokens   int32, documents one after another
             train.starts, held_out.starts   int64, where each document begins
             store.json                      what it was made of; written last

A store made of the same files by the same tokenizer is used again. Held-out documents are chosen by their content.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vortex.errors import ConfigError
from vortex.records.atomic import atomic_write
from vortex.training.documents import Document, DocumentEncoder, read_documents

HEAD_FILE = "store.json"
PARTS = ("train", "held_out")


@dataclass(frozen=True, slots=True)
class TokenPart:
    """tokens: int32 [tokens]; starts: int64 [documents]; num_bytes: of the text they stand for."""

    tokens: np.ndarray
    starts: np.ndarray
    num_bytes: int


@dataclass(frozen=True, slots=True)
class TokenStore:
    train: TokenPart
    held_out: TokenPart
    vocab_size: int
    fingerprint: str


def open_store(
    folder: Path,
    files: Sequence[Path],
    encoder: DocumentEncoder,
    *,
    limit_bytes: int,
    progress: Callable[[int], None] | None = None,
) -> TokenStore:
    """The store of these files, made now if it is not there. `progress` hears bytes of text encoded so far."""
    fingerprint = _fingerprint(files, encoder, limit_bytes)
    head = _read_head(folder)
    if head is None or head["fingerprint"] != fingerprint:
        head = _make(folder, files, encoder, limit_bytes, fingerprint=fingerprint, progress=progress)
    parts = [_open_part(folder, name, head) for name in PARTS]
    return TokenStore(parts[0], parts[1], encoder.vocab_size, fingerprint)


def _make(
    folder: Path,
    files: Sequence[Path],
    encoder: DocumentEncoder,
    limit_bytes: int,
    *,
    fingerprint: str,
    progress: Callable[[int], None] | None,
) -> dict[str, object]:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / HEAD_FILE).unlink(missing_ok=True)
    writers = {name: _PartWriter(folder, name) for name in PARTS}
    total, last = 0, None
    for document in read_documents(files, limit_bytes):
        total += document.num_bytes
        writers["held_out" if document.is_held_out else "train"].add(document, encoder)
        last = document
        if progress and writers["train"].count % 64 == 0:
            progress(total)
    if last is None:
        raise ConfigError("the data has no text to learn from; name other files with --data")
    for writer in writers.values():
        if not writer.count:  # few documents: the last one stands on both sides, and the figures say so little
            writer.add(last, encoder)
    head: dict[str, object] = {"fingerprint": fingerprint, "tokenizer": encoder.name}
    for name, writer in writers.items():
        head[f"{name}_bytes"] = writer.num_bytes
        writer.close()
    with atomic_write(folder / HEAD_FILE) as file:
        file.write(json.dumps(head, indent=1).encode())
    return head


class _PartWriter:
    def __init__(self, folder: Path, name: str) -> None:
        self._folder, self._name = folder, name
        self._tokens = (folder / f"{name}.tokens").open("wb")
        self._starts: list[int] = []
        self._length = 0
        self.num_bytes = 0

    @property
    def count(self) -> int:
        return len(self._starts)

    def add(self, document: Document, encoder: DocumentEncoder) -> None:
        ids = np.asarray(encoder.encode(document), np.int32)
        self._starts.append(self._length)
        self._tokens.write(ids.tobytes())
        self._length += len(ids)
        self.num_bytes += document.num_bytes

    def close(self) -> None:
        self._tokens.close()
        (self._folder / f"{self._name}.starts").write_bytes(np.asarray(self._starts, np.int64).tobytes())


def _open_part(folder: Path, name: str, head: dict[str, object]) -> TokenPart:
    tokens = np.memmap(folder / f"{name}.tokens", np.int32, mode="r")
    starts = np.fromfile(folder / f"{name}.starts", np.int64)
    return TokenPart(tokens, starts, int(str(head[f"{name}_bytes"])))


def _read_head(folder: Path) -> dict[str, object] | None:
    try:
        head = json.loads((folder / HEAD_FILE).read_bytes())
    except (OSError, ValueError):
        return None
    return head if isinstance(head, dict) and "fingerprint" in head else None


def _fingerprint(files: Sequence[Path], encoder: DocumentEncoder, limit_bytes: int) -> str:
    digest = hashlib.sha256(f"{encoder.name} {encoder.vocab_size} {limit_bytes} 1".encode())
    for file in files:
        status = file.stat()
        digest.update(f"{file} {status.st_size} {status.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:32]
