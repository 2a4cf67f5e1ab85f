"""What a vocabulary is learnt from: the text files under some paths, cut into documents, at most so many bytes.

Promises the same documents in the same order for the same files, wherever they lie, and memory bounded by the limit.
Files that hold NUL bytes (pictures, archives) are left out, and so are hidden files and packages installed beside
Python's own library; `.gz` files are read unpacked.
"""

from __future__ import annotations

import gzip
import hashlib
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vortex.errors import ModelNotFound, RequestError

DEFAULT_LIMIT_BYTES = 64 << 20
MAX_DOCUMENT_BYTES = 1 << 16
MIN_DOCUMENT_BYTES = 1 << 10
NOT_CORPUS = ("site-packages", "dist-packages", "__pycache__")
MIN_DOCUMENTS = 64  # a small corpus is cut finer: pieces must prove themselves in more than one document


@dataclass(frozen=True, slots=True)
class Corpus:
    """data: all documents, one after the other. ends: [documents] int64, where each ends in `data`."""

    data: bytes
    ends: np.ndarray
    num_files: int
    left_out: int  # files that are not text

    def documents(self) -> Iterator[bytes]:
        begin = 0
        for end in self.ends.tolist():
            yield self.data[begin:end]
            begin = end

    def fingerprint(self) -> str:
        digest = hashlib.sha256(self.data)
        digest.update(self.ends.astype("<i8").tobytes())
        return digest.hexdigest()


def read_corpus(paths: Sequence[Path], limit_bytes: int = DEFAULT_LIMIT_BYTES) -> Corpus:
    """The documents under `paths` (files, or folders with all they hold).

    Where there is more than `limit_bytes`, files are drawn by the hash of their name. Raises ModelNotFound for a path
    that does not exist, RequestError where there is no text.
    """
    files = [found for path in paths for found in _files(path)]
    files.sort(key=lambda found: hashlib.sha256(found[0].encode()).digest())
    texts: dict[str, bytes] = {}
    room, left_out = limit_bytes, 0
    for name, path in files:
        if room <= 0:
            break
        text = _read(path, room)
        if text is None:
            left_out += 1
        elif text:
            texts[name] = text
            room -= len(text)
    if not texts:
        raise RequestError(f"no text in {', '.join(map(str, paths))}: name files or a folder with --corpus")
    return corpus_of([texts[name] for name in sorted(texts)], left_out)


def corpus_of(texts: Sequence[bytes], left_out: int = 0) -> Corpus:
    """Texts cut into documents at line ends where there are any."""
    total = sum(map(len, texts))
    size = min(MAX_DOCUMENT_BYTES, max(MIN_DOCUMENT_BYTES, total // MIN_DOCUMENTS))
    documents = [document for text in texts for document in _cut(text, size)]
    ends = np.cumsum([len(document) for document in documents]).astype(np.int64)
    return Corpus(b"".join(documents), ends, len(texts), left_out)


def _files(path: Path) -> Iterator[tuple[str, Path]]:
    """(name within the corpus, file)."""
    if path.is_file():
        yield path.name, path
        return
    if not path.is_dir():
        raise ModelNotFound(f"no file or folder {path}: name the corpus with --corpus")
    for found in path.rglob("*"):
        inside = found.relative_to(path)
        hidden = any(part.startswith(".") or part in NOT_CORPUS for part in inside.parts)
        if not hidden and found.is_file():
            yield inside.as_posix(), found


def _read(path: Path, limit_bytes: int) -> bytes | None:
    """At most `limit_bytes` of a file's text; None for a file that is not text or cannot be unpacked."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            text = file.read(limit_bytes)
    except (gzip.BadGzipFile, EOFError, zlib.error):
        return None
    return None if b"\0" in text else text


def _cut(text: bytes, size: int) -> Iterator[bytes]:
    begin = 0
    while begin < len(text):
        end = min(begin + size, len(text))
        if end < len(text):
            end = text.rfind(b"\n", begin, end) + 1 or end
        yield text[begin:end]
        begin = end
