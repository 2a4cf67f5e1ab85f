"""Questions to a person who sits elsewhere: a process writes one down and waits; somebody answers it by name.

    <folder>/<id>.json     what is asked: tool, effect, arguments in full, reason, folder, until when
    <folder>/<id>.answer   the answer, made once: of two people who decide at the same time the second is told

An answer is bound to the hash of what was asked. No answer in time means no, and so does anything that goes wrong. Both
files are gone when the process goes on. Does not decide who may answer: whoever can write into the folder.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from vortex.errors import RequestError, StorageError
from vortex.records.atomic import atomic_write
from vortex.records.private import private_folder

WAIT_S = 600.0
LOOK_EVERY_S = 0.25
_ID = re.compile(r"[0-9a-f]{12}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """asked, until: Unix seconds. arguments: as the call would be made, nothing left out."""

    id: str
    tool: str
    effect: str
    arguments: Mapping[str, Any]
    reason: str
    folder: str
    asked: float
    until: float

    @property
    def hash(self) -> str:
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "hash": self.hash}


class Questions:
    def __init__(self, folder: Path, clock: Callable[[], float] = time.time) -> None:
        self._folder, self._clock = folder, clock

    def ask(self, tool: str, effect: str, arguments: Mapping[str, Any], reason: str, *, wait_s: float = WAIT_S) -> bool:
        """Blocks until somebody answers, or `wait_s` are over. Raises StorageError where it cannot be asked."""
        now = self._clock()
        question = Question(
            id=secrets.token_hex(6), tool=tool, effect=effect, arguments=dict(arguments), reason=reason,
            folder=str(Path.cwd()), asked=now, until=now + wait_s,
        )  # fmt: skip
        asked, answer = self._folder / f"{question.id}.json", self._folder / f"{question.id}.answer"
        try:
            private_folder(self._folder)
            with atomic_write(asked, private=True) as file:
                file.write(json.dumps(asdict(question)).encode())
        except (OSError, TypeError, ValueError) as error:
            raise StorageError(f"{self._folder} cannot be written ({error}); nobody could be asked") from error
        try:
            while self._clock() < question.until:
                if answer.exists():
                    return answer.read_text(encoding="utf-8") == f"allow {question.hash}\n"
                time.sleep(LOOK_EVERY_S)
            return False
        finally:
            asked.unlink(missing_ok=True)
            answer.unlink(missing_ok=True)

    def waiting(self) -> list[Question]:
        """Oldest first; not those that were answered, nor those whose time is over."""
        files = sorted(self._folder.glob("*.json")) if self._folder.is_dir() else []
        found = [self._read(file) for file in files if _ID.fullmatch(file.stem)]
        open_ones = [one for one in found if one is not None and self._clock() < one.until]
        return sorted(open_ones, key=lambda one: (one.asked, one.id))

    def answer(self, question_id: str, seen_hash: str, *, allowed: bool) -> None:
        """Raises RequestError where it waits no more, was answered, or is another than what was seen."""
        one = next((one for one in self.waiting() if one.id == question_id), None)
        if one is None:
            raise RequestError("this call waits no more: somebody answered it, or its time was over")
        if one.hash != seen_hash:
            raise RequestError("this is another call than the one you saw; look at it again")
        path, draft = self._folder / f"{one.id}.answer", self._folder / f".{one.id}.{secrets.token_hex(4)}"
        try:
            draft.write_text(f"{'allow' if allowed else 'deny'} {one.hash}\n", encoding="utf-8")
            os.link(draft, path)  # whole, and only where no answer is yet
        except FileExistsError:
            raise RequestError("this call waits no more: somebody answered it a moment ago") from None
        except OSError as error:
            raise StorageError(f"{path} cannot be written ({error.strerror}); free some space") from error
        finally:
            draft.unlink(missing_ok=True)

    def _read(self, file: Path) -> Question | None:
        if (self._folder / f"{file.stem}.answer").exists():
            return None
        try:
            one = Question(**json.loads(file.read_bytes()))
        except (OSError, ValueError, TypeError, RecursionError):
            return None
        texts, seconds = (one.id, one.tool, one.effect, one.reason, one.folder), (one.asked, one.until)
        if not all(isinstance(text, str) for text in texts) or not isinstance(one.arguments, dict):
            return None
        if not all(isinstance(second, int | float) for second in seconds):
            return None
        return one if one.id == file.stem else None
