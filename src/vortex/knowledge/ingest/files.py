"""Which files of a source there are, and their bytes: links are not followed, nothing but regular files is opened.

Promises that no file outside the source is read, whatever links or pipes lie inside, and that a file that grows while
it is read stays within the limit. Hidden files and folders of tools (`.git`, `node_modules`, …) are passed over.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from vortex.knowledge.documents.blocks import DocumentKind, UnreadableDocument
from vortex.knowledge.documents.kinds import kind_of
from vortex.knowledge.store.records import FileState

_TOOL_FOLDERS = {"node_modules", "__pycache__", "site-packages", "venv", "env", "target", "build", "dist"}
_READ_FLAGS = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


@dataclass(frozen=True, slots=True)
class FoundFile:
    path: str
    kind: DocumentKind
    state: FileState


@dataclass(slots=True)
class Walk:
    """Iterate it once. `links`: passed over; `closed`: folders that could not be looked into."""

    root: Path
    never: Sequence[Path] = ()  # folders that are never a source: the program's own records
    links: int = 0
    closed: list[str] = field(default_factory=list)

    def __iter__(self) -> Iterator[FoundFile]:
        """In the order of paths. A root that is a file gives that file, whatever its name."""
        if self.root.is_file():
            found = _found(str(self.root), kind_of(self.root.name) or DocumentKind.TEXT, self.root.stat())
            yield from [found] if found else []
            return
        waiting = [self.root]
        while waiting:
            folder = waiting.pop()
            if any(folder == never or never in folder.parents for never in self.never):
                continue
            try:
                with os.scandir(folder) as entries:
                    listed = sorted(entries, key=lambda entry: entry.name)
            except OSError:
                self.closed.append(str(folder))
                continue
            folders = []
            for entry in listed:
                if entry.name.startswith("."):
                    continue
                if entry.is_symlink():
                    self.links += 1
                elif entry.is_dir(follow_symlinks=False):
                    if entry.name not in _TOOL_FOLDERS:
                        folders.append(folder / entry.name)
                elif (kind := kind_of(entry.name)) is not None:
                    found = _found(entry.path, kind, entry.stat(follow_symlinks=False))
                    yield from [found] if found else []
            waiting += reversed(folders)


def _found(path: str, kind: DocumentKind, status: os.stat_result) -> FoundFile | None:
    if not stat.S_ISREG(status.st_mode):
        return None
    return FoundFile(path, kind, FileState(size_bytes=status.st_size, mtime_ns=status.st_mtime_ns))


def read_bytes(path: str, limit_bytes: int) -> bytes:
    """Raises UnreadableDocument for what is too large, no regular file, or cannot be opened; FileNotFoundError."""
    try:
        descriptor = os.open(path, _READ_FLAGS)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise UnreadableDocument(f"cannot be opened ({error.strerror})") from error
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise UnreadableDocument("not a regular file")
        if status.st_size > limit_bytes:
            raise UnreadableDocument(too_large(status.st_size, limit_bytes))
        try:
            data = file.read(limit_bytes + 1)
        except OSError as error:
            raise UnreadableDocument(f"cannot be read ({error.strerror})") from error
    if len(data) > limit_bytes:
        raise UnreadableDocument(too_large(len(data), limit_bytes))
    return data


def too_large(size_bytes: int, limit_bytes: int) -> str:
    return f"{size_bytes / 1e6:,.0f} MB, more than rag.max_file_mb ({limit_bytes / 1e6:,.0f})"
