"""Who is inside: one-time links, sessions, and the token that every form carries.

    <folder>/links/<sha256 of the key>       made by `vortex console`, taken away by whoever enters with it
    <folder>/sessions/<sha256 of the token>  the cookie's token, as long as it counts

Files hold the Unix second at which they end, so a server that restarts still knows who is inside, and a person who can
read this folder could have written an approval by hand anyway. Only hashes are kept: who reads a file cannot enter
with it. Promises that a key opens once, also where two try at the same time. Does not know users.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import time
from collections.abc import Callable
from pathlib import Path

from vortex.errors import StorageError
from vortex.records.private import private_folder

LINK_S = 600.0
SESSION_S = 7 * 86400.0
MAX_TOKEN_CHARS = 200


class Doors:
    """folder: of this user alone, not of the folder that is worked in, which may be somebody else's."""

    def __init__(self, folder: Path, clock: Callable[[], float] = time.time) -> None:
        self._links, self._sessions, self._clock = folder / "links", folder / "sessions", clock

    def new_key(self) -> str:
        """A key that opens once, within ten minutes. Raises StorageError."""
        self._clear()
        return self._issue(self._links, LINK_S)

    def enter(self, key: str) -> str | None:
        """The session's token; None for a key that is wrong, was used, or is too old."""
        path = self._place(self._links, key)
        until = self._until(path)
        try:
            path.unlink()  # of two who try at the same time one succeeds here
        except OSError:
            return None
        return self._issue(self._sessions, SESSION_S) if self._clock() < until else None

    def is_inside(self, token: str | None) -> bool:
        return token is not None and self._clock() < self._until(self._place(self._sessions, token))

    def leave(self, token: str) -> None:
        self._place(self._sessions, token).unlink(missing_ok=True)

    def close_all(self) -> int:
        """Everybody out, every link void. How many sessions there were."""
        sessions = self._files(self._sessions)
        for path in [*self._files(self._links), *sessions]:
            path.unlink(missing_ok=True)
        return len(sessions)

    def _issue(self, folder: Path, seconds: float) -> str:
        token = secrets.token_urlsafe(32)
        path = self._place(folder, token)
        try:
            private_folder(folder)
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w", encoding="ascii") as file:
                file.write(str(self._clock() + seconds))
        except OSError as error:
            raise StorageError(f"{path.parent} cannot be written ({error.strerror}); free some space") from error
        return token

    def _clear(self) -> None:
        for path in [*self._files(self._links), *self._files(self._sessions)]:
            if self._clock() >= self._until(path):
                path.unlink(missing_ok=True)

    @staticmethod
    def _files(folder: Path) -> list[Path]:
        return sorted(folder.iterdir()) if folder.is_dir() else []

    @staticmethod
    def _place(folder: Path, token: str) -> Path:
        return folder / hashlib.sha256(token[:MAX_TOKEN_CHARS].encode(errors="replace")).hexdigest()

    @staticmethod
    def _until(path: Path) -> float:
        try:
            return float(path.read_text(encoding="ascii"))
        except (OSError, ValueError):
            return 0.0


def form_token(session: str) -> str:
    """What a form of this session carries: a page that cannot read ours cannot know it."""
    return hmac.new(session.encode(), b"vortex console form", hashlib.sha256).hexdigest()


def fits(session: str, sent: str) -> bool:
    return hmac.compare_digest(form_token(session).encode(), sent.encode(errors="replace"))
