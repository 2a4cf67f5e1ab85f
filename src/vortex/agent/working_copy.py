"""A copy of the task's folder, for tests to run in: whatever they do, the folder itself stays as it was.

Taken are the files that git knows or does not ignore; without git, all but folders that tools make for themselves.
Links are not followed and not copied, so that nothing outside the folder comes in. Promises: the copy is gone when it
is closed. Too large a folder is refused with the number, never cut short in silence.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from vortex.errors import AgentStopped, StorageError

SKIPPED_FOLDERS = frozenset(
    (".git", ".hg", ".svn", "__pycache__", "node_modules", ".venv", "venv", ".tox", ".nox", ".mypy_cache",
     ".ruff_cache",
     ".pytest_cache", "build", "dist")
)  # fmt: skip
MAX_FILES = 20_000
MAX_BYTES = 400 << 20
MAX_TEXT_BYTES = 512 << 10  # a larger file is no source that is repaired


class WorkingCopy:
    """`folder` is the copy, `origin` what it was taken from."""

    def __init__(self, origin: Path) -> None:
        self.origin = origin.resolve()
        if not self.origin.is_dir():
            raise AgentStopped(f"{origin} is no folder; run the command in the folder of the project")
        self._root = Path(tempfile.mkdtemp(prefix="vortex-agent-"))
        self.folder = self._root / (self.origin.name or "work")
        try:
            self.files = self._copy()
        except BaseException:
            self.close()
            raise

    def _copy(self) -> list[str]:
        self.folder.mkdir()
        copied: list[str] = []
        total_bytes = 0
        for name in files_of(self.origin):
            source = self.origin / name
            with contextlib.suppress(FileNotFoundError):
                status = source.lstat()
                if not stat.S_ISREG(status.st_mode):
                    continue
                total_bytes += status.st_size
                if len(copied) >= MAX_FILES or total_bytes > MAX_BYTES:
                    raise AgentStopped(
                        f"{self.origin} holds more than {MAX_FILES:,} files or {MAX_BYTES >> 20} MB; run in a smaller "
                        "folder, or let git ignore what is no source"
                    )
                target = self.folder / name
                try:
                    target.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy2(source, target, follow_symlinks=False)
                except OSError as error:
                    if isinstance(error, FileNotFoundError):
                        raise
                    raise StorageError(
                        f"{self.origin} could not be copied: {error.strerror}; free some space"
                    ) from None
                copied.append(name)
        return sorted(copied)

    def read(self, name: str) -> str | None:
        """A text file; None where it is none, or too large to be a source."""
        path = self.folder / name
        try:
            data = path.read_bytes() if path.stat().st_size <= MAX_TEXT_BYTES else None
            return data.decode() if data is not None and b"\0" not in data else None
        except (OSError, UnicodeDecodeError):
            return None

    def write(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text, encoding="utf-8", newline="")

    def close(self) -> None:
        shutil.rmtree(self._root, ignore_errors=True)

    def __enter__(self) -> WorkingCopy:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def files_of(folder: Path) -> list[str]:
    """Names of the folder's files, relative, in order."""
    listed = (
        subprocess.run(
            ["git", "-C", str(folder), "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            capture_output=True,
            check=False,
            env={**os.environ, "GIT_CONFIG_NOSYSTEM": "1", "GIT_OPTIONAL_LOCKS": "0"},
        )
        if shutil.which("git")
        else None
    )
    if listed is not None and listed.returncode == 0:
        return sorted({os.fsdecode(name) for name in listed.stdout.split(b"\0") if name})
    return sorted(_walked(folder))


def _walked(folder: Path) -> Iterator[str]:
    for here, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if name not in SKIPPED_FOLDERS)
        for name in files:
            yield os.path.relpath(Path(here, name), folder)
