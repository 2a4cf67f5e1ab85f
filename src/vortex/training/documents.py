"""Text files, folders and dialogues as documents of tokens.

A `.jsonl` file has a document on each line, `{"messages": [...]}` or `{"text": "..."}`; any other file is one
document, cut at a blank line where it is longer than 64 KiB; `.gz` is unpacked. Files with NUL bytes, hidden files and
installed packages are left out. The order is that of the paths, so that the same files give the same documents.
"""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from vortex.errors import ModelFileError, ModelNotFound
from vortex.types import ChatMessage

MAX_DOCUMENT_BYTES = 1 << 16
HELD_OUT_BYTE = 8  # of 256: about 3% of the documents, by the hash of their content


@dataclass(frozen=True, slots=True)
class Document:
    """Plain text as bytes, or the turns of a dialogue."""

    text: bytes = b""
    messages: tuple[ChatMessage, ...] = ()

    @property
    def is_held_out(self) -> bool:
        return self._digest()[0] < HELD_OUT_BYTE

    @property
    def num_bytes(self) -> int:
        return len(self.text) or sum(len(message.content.encode()) for message in self.messages)

    def _digest(self) -> bytes:
        content = self.text or "\0".join(message.content for message in self.messages).encode()
        return hashlib.sha256(content).digest()


class DocumentEncoder(Protocol):
    """How a model's tokenizer writes documents, beginning and end included."""

    @property
    def name(self) -> str: ...

    @property
    def vocab_size(self) -> int: ...

    def encode(self, document: Document) -> list[int]: ...


def find_files(paths: Sequence[Path]) -> list[Path]:
    """Text files under the paths. Raises ModelNotFound for a path that is not there, or where nothing is left."""
    found: list[Path] = []
    for path in paths:
        if not path.exists():
            raise ModelNotFound(f"there is no {path}; name a text file or a folder of them with --data")
        inside = sorted(path.rglob("*")) if path.is_dir() else [path]
        found += [file for file in inside if file.is_file() and not _is_left_out(file.relative_to(path))]
    if not found:
        raise ModelNotFound(f"no files under {', '.join(map(str, paths))}; name text with --data")
    return found


def read_documents(files: Sequence[Path], limit_bytes: int) -> Iterator[Document]:
    """Documents until `limit_bytes` of text were given."""
    room = limit_bytes
    for file in files:
        for document in _documents_of(file):
            if room <= 0:
                return
            room -= document.num_bytes
            yield document


def _is_left_out(path: Path) -> bool:
    return any(part.startswith(".") or part in {"site-packages", "__pycache__"} for part in path.parts)


def _documents_of(path: Path) -> Iterator[Document]:
    data = path.read_bytes()
    name = path.name
    if path.suffix == ".gz":
        try:
            data, name = gzip.decompress(data), path.stem
        except (OSError, EOFError) as error:
            raise ModelFileError(f"{path} is damaged ({error}); take it out of the data") from error
    if b"\0" in data:
        return
    if name.endswith(".jsonl"):
        yield from (_of_line(line, path, number) for number, line in enumerate(data.splitlines(), 1) if line.strip())
    else:
        yield from (Document(text=piece) for piece in _pieces(data))


def _of_line(line: bytes, path: Path, number: int) -> Document:
    try:
        row = json.loads(line)
        if "messages" in row:
            messages = [ChatMessage(role=turn["role"], content=turn["content"]) for turn in row["messages"]]
            return Document(messages=tuple(messages))
        return Document(text=row["text"].encode())
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelFileError(f'{path}, line {number}: not {{"messages": […]}} or {{"text": …}}; mend it') from error


def _pieces(data: bytes) -> Iterator[bytes]:
    begin = 0
    while len(data) - begin > MAX_DOCUMENT_BYTES:
        end = data.rfind(b"\n\n", begin + MAX_DOCUMENT_BYTES // 2, begin + MAX_DOCUMENT_BYTES)
        end = end + 2 if end > 0 else begin + MAX_DOCUMENT_BYTES
        yield data[begin:end]
        begin = end
    if data[begin:].strip():
        yield data[begin:]
