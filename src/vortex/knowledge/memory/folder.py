"""The folder of what is remembered: one file an entry, and a history that only grows.

    data/memory/entries/<id>.md   what is known now; a person may edit, add and delete these files
    data/memory/history.jsonl     every change: added, edited, kept, forgotten; by whom, the text before and after

Promises that a crash leaves an entry whole or absent; that changes made by hand are noticed and written into the
history; that two processes do not lose each other's entries. `forget(erase=True)` takes the text out of the history
too. Does not decide what is worth remembering: callers ask only for what a person wanted.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from vortex.errors import RequestError, StorageError
from vortex.knowledge.memory.entries import Entry, Kind, clean, from_file, new_id, to_file
from vortex.records.atomic import atomic_write, sync_folder
from vortex.records.jsonl import append_jsonl, read_jsonl
from vortex.records.lock import FileLock

Signature = tuple[tuple[str, int, int], ...]


class Memory:
    """The folder is open to its owner alone. Every method blocks on the disk."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._entries = folder / "entries"
        self._history = folder / "history.jsonl"
        self._lock = folder / "memory.lock"

    def entries(self, kind: Kind | None = None) -> list[Entry]:
        """Oldest first."""
        found = [entry for _, entry in self._read() if kind is None or entry.kind is kind]
        return sorted(found, key=lambda entry: (entry.created, entry.id))

    def signature(self) -> Signature:
        """Changes when an entry does."""
        if not self._entries.is_dir():
            return ()
        stats = ((file.name, file.stat()) for file in sorted(self._entries.glob("*.md")))
        return tuple((name, stat.st_mtime_ns, stat.st_size) for name, stat in stats)

    def find(self, entry_id: str) -> Entry:
        """By its id or an unambiguous beginning of it. Raises RequestError."""
        found = [entry for entry in self.entries() if entry.id.startswith(entry_id)]
        exact = [entry for entry in found if entry.id == entry_id]
        if len(exact or found) != 1:
            reason = "several entries begin with" if found else "nothing is remembered as"
            raise RequestError(f"{reason} '{entry_id}'; `vortex memory list` shows the ids")
        return (exact or found)[0]

    def add(
        self,
        text: str,
        *,
        source: str,
        kind: Kind = Kind.FACT,
        question: str | None = None,
        request_id: str | None = None,
    ) -> Entry:
        """The new entry, or the one that says just this already. A lesson replaces an older one on its question."""
        text, question = clean(text), clean(question) if question else None
        with self._changing():
            for known in self.entries(kind):
                if folded(known.text) == folded(text) and folded(known.question or "") == folded(question or ""):
                    return known
                if kind is Kind.LESSON and folded(known.question or "") == folded(question or ""):
                    return self._replace(known, text, source, request_id)
            entry = Entry(
                id=new_id(),
                kind=kind,
                text=text,
                source=source,
                created=time.time(),
                question=question,
                request_id=request_id,
            )
            self._write(entry)
            self._note("added", entry)
        return entry

    def edit(self, entry_id: str, text: str, *, source: str) -> Entry:
        text = clean(text)
        with self._changing():
            return self._replace(self.find(entry_id), text, source, None)

    def keep(self, entry_id: str, *, source: str) -> Entry:
        """A person read it and wants it kept: a line in the history."""
        with self._changing():
            entry = self.find(entry_id)
            self._note("kept", entry, source=source)
        return entry

    def forget(self, entry_id: str, *, source: str, erase: bool = False) -> Entry:
        """Gone from what is known; with `erase` its text is gone from the history as well."""
        with self._changing():
            entry = self.find(entry_id)
            self._path(entry.id).unlink()
            sync_folder(self._entries)
            self._note("forgotten", entry, source=source, text="" if erase else entry.text)
            if erase:
                self._erase(entry.id)
        return entry

    def history_size(self) -> int:
        """Grows with every change. 0: nothing happened yet."""
        try:
            return self._history.stat().st_size
        except OSError:
            return 0

    def history(self, entry_id: str | None = None) -> list[dict[str, Any]]:
        """Changes in order: time, change, id, kind, source, text, before."""
        rows = read_jsonl(self._history)
        return [row for row in rows if entry_id is None or str(row.get("id", "")).startswith(entry_id)]

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """The lock; whoever holds it has written down what was changed by hand before."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)  # what is inside is nobody else's to read
            self._entries.mkdir(exist_ok=True, mode=0o700)
            with FileLock(self._lock):
                self._notice_hand_edits()
                yield
        except OSError as error:
            raise StorageError(f"{self._entries} cannot be written: {error.strerror}; VORTEX_DATA moves it") from error

    def _notice_hand_edits(self) -> None:
        last = {str(row["id"]): row for row in read_jsonl(self._history) if "id" in row}
        here = {entry.id: entry for _, entry in self._read()}
        for entry in here.values():
            row = last.get(entry.id)
            if row is None or row.get("change") == "forgotten":
                self._note("added", entry, source="file")
            elif row.get("text") != entry.text:
                self._note("edited", entry, source="file", before=str(row.get("text", "")))
        for entry_id, row in last.items():
            if entry_id not in here and row.get("change") != "forgotten":
                gone = {**row, "time": time.time(), "change": "forgotten", "source": "file"}
                append_jsonl(self._history, gone)

    def _replace(self, known: Entry, text: str, source: str, request_id: str | None) -> Entry:
        entry = Entry(
            id=known.id,
            kind=known.kind,
            text=text,
            source=source,
            created=known.created,
            question=known.question,
            request_id=request_id or known.request_id,
        )
        self._write(entry)
        self._note("edited", entry, before=known.text)
        return entry

    def _read(self) -> Iterable[tuple[Path, Entry]]:
        if not self._entries.is_dir():
            return
        for file in sorted(self._entries.glob("*.md")):
            if file.is_symlink() or not file.is_file():
                continue  # a link may lead to a file that is nobody's memory
            text = file.read_text(encoding="utf-8", errors="replace")
            entry = from_file(text, file.stem, file.stat().st_mtime)
            if entry is not None and entry.id == file.stem:
                yield file, entry

    def _path(self, entry_id: str) -> Path:
        return self._entries / f"{entry_id}.md"

    def _write(self, entry: Entry) -> None:
        with atomic_write(self._path(entry.id)) as file:
            file.write(to_file(entry).encode())

    def _note(self, change: str, entry: Entry, **further: str) -> None:
        row: dict[str, Any] = {
            "time": time.time(),
            "change": change,
            "id": entry.id,
            "kind": entry.kind.value,
            "source": entry.source,
            "text": entry.text,
            **further,
        }
        append_jsonl(self._history, row)

    def _erase(self, entry_id: str) -> None:
        rows = list(read_jsonl(self._history))
        with atomic_write(self._history) as file:
            for row in rows:
                if row.get("id") == entry_id:
                    row = {key: value for key, value in row.items() if key not in {"text", "before"}} | {"text": ""}
                file.write(json.dumps(row, ensure_ascii=False, separators=(",", ":")).encode() + b"\n")


def folded(text: str) -> str:
    """For comparing: case, spaces and the last full stop do not count."""
    return " ".join(text.casefold().split()).rstrip(".! ")
