"""Swept beginnings of prompts on disk, so that the first turn after a restart does not start from nothing.

    FOLDER/<model>/<key>.prompt    one state each; `model` is a hash of the weights, their form, the layout of states

Promises: a state that is handed out was written by this very form of these weights, for exactly these tokens and this
adapter, and has the bytes that were written (checksum over all of it); anything else is a miss: a damaged file is
deleted and said in one line, a file of another model or version is never looked at. All files together stay within the
budget, the longest unused leaving first. Files and folders are their owner's alone (0600, 0700): they hold what was
said. Nothing is synced to disk: a file that a power cut tore is a damaged one.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import mmap
import os
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xxhash

from vortex import __version__
from vortex.protocols import KeepsStates
from vortex.records.private import private_folder
from vortex.types import SequenceState

MAGIC = b"VTXPRMT1"
SUFFIX = ".prompt"
MAX_HEADER_BYTES = 1 << 20
LEFT_AFTER_S = 3600  # a draft so old is of a process that was killed while it wrote
_log = logging.getLogger("vortex.engine.prompt_store")


@dataclass(frozen=True, slots=True)
class PromptStoreOptions:
    """folder: for all models of this user. identity: hash of the weights as they are served; slow the first time."""

    folder: Path
    budget_bytes: int
    identity: Callable[[], str]


class PromptStore:
    """One model's states. Not thread-safe; other processes may use the same folder."""

    def __init__(self, model: KeepsStates, options: PromptStoreOptions) -> None:
        self._model = model
        self._options = options
        self._place: Path | None = None
        self.hits = 0
        self.writes = 0

    def load(self, key: bytes, token_ids: np.ndarray, adapter: str) -> SequenceState | None:
        """The state of these tokens [length] int32, the caller's to close; None where there is none that is whole."""
        if not self._options.folder.is_dir():  # nothing was ever kept: the weights need not be hashed to know
            return None
        try:
            path = self._path(key)
            with path.open("rb") as file:
                content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)  # gone with its last view
            state = self._read(memoryview(content), token_ids, adapter)
        except OSError:  # none is there, or nobody may read here
            return None
        except (ValueError, KeyError, TypeError) as error:
            _log.warning("note: a kept prompt is damaged and was deleted (%s); it is swept again", error)
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
            return None
        with contextlib.suppress(OSError):  # where nobody may write, the order of leaving is not kept
            os.utime(path)
        self.hits += 1
        return state

    def save(self, key: bytes, token_ids: np.ndarray, adapter: str, state: SequenceState) -> None:
        """Keep a state of these tokens. What cannot be written is said in one line, and forgotten."""
        try:
            path = self._path(key)
            if path.exists():
                return
        except OSError as error:
            _log.warning("note: a prompt could not be kept on disk (%s)", error.strerror or error)
            return
        arrays = [np.ascontiguousarray(array) for array in self._model.state_arrays(state)]
        meta = json.dumps(
            {"adapter": adapter, "length": len(token_ids), "arrays": [[a.dtype.str, list(a.shape)] for a in arrays]}
        ).encode()
        parts = [np.ascontiguousarray(token_ids, np.int32), *arrays]
        size_bytes = len(MAGIC) + 8 + 16 + len(meta) + sum(part.nbytes for part in parts)
        if size_bytes > self._options.budget_bytes:
            return
        try:
            private_folder(path.parent)
            self._make_room(size_bytes)
            _write(path, [MAGIC, len(meta).to_bytes(8, "little"), _digest(meta, parts), meta, *parts])
        except OSError as error:
            _log.warning("note: a prompt could not be kept on disk (%s)", error.strerror or error)
            return
        self.writes += 1

    def _path(self, key: bytes) -> Path:
        if self._place is None:
            what = f"{self._options.identity()}/{self._model.state_form}/{__version__}"
            self._place = self._options.folder / hashlib.blake2b(what.encode(), digest_size=12).hexdigest()
        return self._place / f"{key.hex()}{SUFFIX}"

    def _read(self, content: memoryview, token_ids: np.ndarray, adapter: str) -> SequenceState:
        """Raises ValueError and its kin for anything but what `save` wrote for these tokens."""
        start = len(MAGIC) + 8 + 16
        if bytes(content[: len(MAGIC)]) != MAGIC:
            raise ValueError("it begins otherwise")
        meta_bytes = int.from_bytes(content[len(MAGIC) : len(MAGIC) + 8], "little")
        if not 0 < meta_bytes <= min(MAX_HEADER_BYTES, len(content) - start):
            raise ValueError("its header is cut off")
        raw = bytes(content[start : start + meta_bytes])
        said = bytes(content[len(MAGIC) + 8 : start])
        whole = xxhash.xxh3_128(raw)
        payload = content[start + meta_bytes :]
        whole.update(payload)
        if whole.digest() != said:
            raise ValueError("its checksum is another")
        return self._state(json.loads(raw), payload, token_ids, adapter)

    def _state(self, meta: Any, payload: memoryview, token_ids: np.ndarray, adapter: str) -> SequenceState:
        kept, at = np.frombuffer(payload, np.int32, len(token_ids)), token_ids.nbytes
        if meta["adapter"] != adapter or meta["length"] != len(token_ids) or not np.array_equal(kept, token_ids):
            raise ValueError("it is of another prompt")
        arrays = []
        for dtype, shape in meta["arrays"]:
            count = int(np.prod(shape))
            arrays.append(np.frombuffer(payload, np.dtype(dtype), count, at).reshape(shape))
            at += arrays[-1].nbytes
        return self._model.state_of(len(token_ids), arrays)

    def _make_room(self, size_bytes: int) -> None:
        for draft in self._options.folder.glob("*/.*.tmp"):
            with contextlib.suppress(OSError):
                if draft.stat().st_mtime < time.time() - LEFT_AFTER_S:
                    draft.unlink()
        found = []
        for path in self._options.folder.glob(f"*/*{SUFFIX}"):
            try:
                status = path.stat()
            except FileNotFoundError:
                continue  # another process made room
            found.append((status.st_mtime_ns, status.st_size, path))
        left_bytes = sum(size for _, size, _ in found) + size_bytes - self._options.budget_bytes
        for _, size, path in sorted(found):
            if left_bytes <= 0:
                return
            path.unlink(missing_ok=True)
            left_bytes -= size


def _digest(meta: bytes, parts: Sequence[np.ndarray]) -> bytes:
    whole = xxhash.xxh3_128(meta)
    for part in parts:
        whole.update(part.reshape(-1).view(np.uint8).data)
    return whole.digest()


def _write(path: Path, parts: Sequence[bytes | np.ndarray]) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    try:
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            for part in parts:
                file.write(part if isinstance(part, bytes) else part.reshape(-1).view(np.uint8).data)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
