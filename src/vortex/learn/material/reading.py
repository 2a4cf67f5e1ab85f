"""Files, folders and episodes as rows.

JSON lines with `question` and `statement` (or `answer`), with `prompt` and `response`, or with `messages` are lessons;
everything else that knowledge/ can read (text, Markdown, PDF, HTML, code) is running text. Promises that a file which
cannot be read is told and hinders no other. Does not fetch anything.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vortex.errors import RequestError
from vortex.knowledge.chunking import passages
from vortex.knowledge.documents.blocks import DocumentKind, ParsedDocument, UnreadableDocument
from vortex.knowledge.documents.kinds import kind_of
from vortex.knowledge.ingest.files import read_bytes
from vortex.learn.material.rows import Row, row_of_event
from vortex.records.episodes import EpisodeStore

MAX_FILE_BYTES = 20 << 20
QUESTIONS = ("question", "prompt", "instruction")
ANSWERS = ("statement", "answer", "response", "output")


@dataclass(slots=True)
class Reading:
    """parse: bytes of a document to its text, where it can do no harm (knowledge/documents/worker.py).

    left_out: (file, reason).
    """

    parse: Callable[[str, DocumentKind, bytes], ParsedDocument]
    left_out: list[tuple[str, str]] = field(default_factory=list)

    def paths(self, paths: list[Path]) -> Iterator[Row]:
        """Files, and the files in folders; hidden ones and links are passed over. Raises RequestError: not there."""
        for path in paths:
            if not path.exists():
                raise RequestError(f"there is no file or folder {path}")
            files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if _is_plain(file, path))
            for file in files:
                yield from self._file(file)

    def _file(self, file: Path) -> Iterator[Row]:
        try:
            if file.stat().st_size > MAX_FILE_BYTES:
                raise UnreadableDocument(f"larger than {MAX_FILE_BYTES >> 20} MB")
            data = read_bytes(str(file), MAX_FILE_BYTES)
            if file.suffix == ".jsonl":
                yield from _lines(file, data)
                return
            kind = kind_of(file.name)
            if kind is None:
                raise UnreadableDocument("no kind of text that is known")
            for passage in passages(self.parse(file.name, kind, data).blocks):
                yield Row(statement=passage.text, source="file", origin=str(file), created=file.stat().st_mtime)
        except (OSError, UnreadableDocument) as error:
            self.left_out.append((str(file), str(error)))


def rows_of_episodes(store: EpisodeStore) -> Iterator[Row]:
    """Of every correction that counts."""
    for event in store.training_events():
        row = row_of_event(event)
        if row is not None:
            yield row


def _lines(file: Path, data: bytes) -> Iterator[Row]:
    created, found = file.stat().st_mtime, 0
    for number, line in enumerate(data.splitlines(), 1):
        try:
            values = json.loads(line)
        except (ValueError, RecursionError):
            continue
        question, statement = _pair(values) if isinstance(values, dict) else ("", "")
        if question and statement:
            found += 1
            yield Row(question=question, statement=statement, source="file", origin=f"{file}:{number}", created=created)
    if not found:
        raise UnreadableDocument("no lines with question and statement, prompt and response, or messages")


def _pair(values: Mapping[str, Any]) -> tuple[str, str]:
    messages = values.get("messages")
    if isinstance(messages, list) and len(messages) >= 2 and all(isinstance(one, dict) for one in messages):
        values = {"question": messages[-2].get("content"), "answer": messages[-1].get("content")}
    question = next((values[key] for key in QUESTIONS if isinstance(values.get(key), str)), "")
    answer = next((values[key] for key in ANSWERS if isinstance(values.get(key), str)), "")
    return question.strip(), answer.strip()


def _is_plain(file: Path, root: Path) -> bool:
    hidden = any(part.startswith(".") for part in file.relative_to(root).parts)
    return not hidden and not file.is_symlink() and file.is_file()
