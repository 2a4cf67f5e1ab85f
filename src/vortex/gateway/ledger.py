"""The ledger: one JSON line per request with everything its decision depended on, and lines for the controller's steps.

Prompts appear only as keyed hashes (the key lies beside the ledger, for its owner alone); their text is kept only where
asked for. Lines are gathered and written together; at a size the file starts anew and the old one is kept once. A crash
may lose the last half second; a torn last line is skipped by the reader.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from vortex.errors import ConfigError
from vortex.gateway.controller import ControllerState, Measurement
from vortex.gateway.decision import Decision, Evidence
from vortex.gateway.settings import ControllerSettings, DecisionSettings, LedgerSettings
from vortex.records.private import open_private, private_folder

log = logging.getLogger("vortex.gateway")
VERSION = 1
FLUSH_S = 0.25
KEY_BYTES = 32
DIGEST_BYTES = 12
MAX_TAIL_BYTES = 1 << 20


def decision_bytes(decision: Decision) -> bytes:
    """The canonical form that replay compares byte for byte."""
    return orjson.dumps(decision, option=orjson.OPT_SORT_KEYS)


class Ledger:
    def __init__(self, settings: LedgerSettings) -> None:
        self._settings = settings
        self._path = Path(settings.ledger_path)
        self._lines: list[bytes] = []
        self._timer: asyncio.TimerHandle | None = None
        self._number = 0
        self.lost_lines = 0  # a full disk stops the ledger, never a request
        self._policy = b""
        self._size_bytes = 0
        self._key = secrets.token_bytes(KEY_BYTES)

    def open(self) -> None:
        """Make the folder and the key. Raises ConfigError where that is not allowed."""
        if not self._settings.ledger:
            return
        try:
            private_folder(self._path.parent)
            self._key = _kept_key(self._path.with_suffix(".key"))
            self._size_bytes = _cut_torn_line(self._path)
        except OSError as error:
            raise ConfigError(
                f"LKN_LEDGER_PATH={self._path} cannot be written: {error.strerror}; set another"
            ) from None

    def digest(self, text: str) -> str:
        """A keyed hash: the same text gives the same digest, and nobody without the key can test a guess."""
        return hashlib.blake2b(text.encode(errors="replace"), key=self._key, digest_size=DIGEST_BYTES).hexdigest()

    def request(self, evidence: Evidence, decision: Decision, prompt: tuple[str, str], outcome: dict[str, Any]) -> None:
        """`prompt`: (conversation digest, text)."""
        if not self._settings.ledger:
            return
        self._number += 1
        line: dict[str, Any] = {
            "type": "request",
            "version": VERSION,
            "number": self._number,
            "evidence": evidence,
            "decision": decision,
            "conversation": prompt[0],
            "prompt": self.digest(prompt[1]),
            "outcome": outcome,
        }
        if self._settings.ledger_text:
            line["text"] = prompt[1]
        self._add(line)

    def policy(self, policy: DecisionSettings, controller: ControllerSettings) -> None:
        """What the decisions below this line follow; every file starts with it."""
        line = {"type": "policy", "version": VERSION, "policy": policy, "controller": controller}
        self._policy = orjson.dumps(line, option=orjson.OPT_SORT_KEYS)
        self._add(line)

    def tick(self, seen: Measurement, before: ControllerState, after: ControllerState) -> None:
        self._add({"type": "tick", "seen": seen, "before": before, "after": after})

    def _add(self, line: dict[str, Any]) -> None:
        if not self._settings.ledger:
            return
        self._lines.append(orjson.dumps(line, option=orjson.OPT_SORT_KEYS))
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(FLUSH_S, self.flush)

    def flush(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._lines:
            return
        data = b"\n".join(self._lines) + b"\n"
        count = len(self._lines)
        self._lines.clear()
        try:
            self._write(data)
        except OSError as error:
            self.lost_lines += count
            log.warning("the ledger lost %d lines: %s", count, error)

    def _write(self, data: bytes) -> None:
        if self._size_bytes and self._size_bytes + len(data) > self._settings.ledger_max_bytes:
            self._path.replace(self._path.with_suffix(".1.jsonl"))
            self._size_bytes = 0
            data = self._policy + b"\n" + data
        with open_private(self._path) as file:
            file.write(data)
        self._size_bytes += len(data)


def read_ledger(path: Path) -> Iterator[dict[str, Any]]:
    """The lines of a ledger, without a torn last one. Raises ConfigError for a file that is none."""
    if not path.is_file():
        raise ConfigError(f"no ledger at {path}: give the file that LKN_LEDGER_PATH names")
    lines = path.read_bytes().split(b"\n")
    for number, raw in enumerate(lines, 1):
        if not raw.strip():
            continue
        try:
            yield orjson.loads(raw)
        except orjson.JSONDecodeError:
            if number < len(lines):
                raise ConfigError(f"{path}:{number} is not a ledger line: give another file") from None


def _cut_torn_line(path: Path) -> int:
    """Drop what a crash left of a last line. Returns the size that stays, in bytes."""
    if not path.exists():
        return 0
    with path.open("rb+") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - MAX_TAIL_BYTES))
        tail = file.read()
        if tail and not tail.endswith(b"\n"):
            size -= len(tail) - (tail.rfind(b"\n") + 1)
            file.truncate(size)
        return size


def _kept_key(path: Path) -> bytes:
    """The key of this ledger, made on first use, readable by its owner alone."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return path.read_bytes()[:KEY_BYTES].ljust(KEY_BYTES, b"\0")
    with os.fdopen(descriptor, "wb") as file:
        key = secrets.token_bytes(KEY_BYTES)
        file.write(key)
    return key
