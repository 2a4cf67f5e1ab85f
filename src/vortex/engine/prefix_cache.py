"""Prompts that begin alike share the beginning: snapshots of states at whole-chunk boundaries, least used out first.

Promises: a state that is handed out was computed by sweeping exactly these tokens with this adapter (or none), from
position 0, as prompt chunks cut at the same places as a cold prompt's (so reuse changes no bit, whatever the model's
exactness); keys are hashes, but tokens are compared; the snapshots together stay within the byte budget.
Not every boundary is kept, since a snapshot may be a copy: the last one (the next turn of a conversation begins there)
and those after 1, 2, 4, 8, … chunks (a shared system prompt is found to at least half). So a prompt costs at most
three times its own state.
With a store, what is here goes to disk too: when the engine has nothing to do, when it leaves memory, and at the end. A
last beginning that is larger than all of memory's budget goes there at once.
Not thread-safe: it belongs to the engine's thread.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vortex.engine.prompt_store import PromptStore
from vortex.types import SequenceState


@dataclass(frozen=True, slots=True)
class _Entry:
    adapter: str
    token_ids: np.ndarray  # [length] int32
    state: SequenceState
    size_bytes: int


class PrefixCache:
    """`hits` and `evictions` count since the start."""

    def __init__(self, *, chunk_tokens: int, budget_bytes: int, store: PromptStore | None = None) -> None:
        self.store = store
        self._unsaved: dict[bytes, None] = {}  # keys of entries that are not on disk, the oldest first
        self._chunk_tokens = chunk_tokens
        self._budget_bytes = budget_bytes
        self._entries: OrderedDict[bytes, _Entry] = OrderedDict()  # the least recently used first
        self.resident_bytes = 0
        self.hits = 0
        self.evictions = 0

    def __len__(self) -> int:
        return len(self._entries)

    def reuse(self, prompt_ids: Sequence[int], adapter: str = "") -> SequenceState | None:
        """An independent state of the longest kept beginning of the prompt, the caller's to close; None: no such.
        adapter: the hash of the one it is swept with; empty for none.

        At least one token of the prompt is left to sweep: its logits begin the answer.
        """
        prompt = np.asarray(prompt_ids, dtype=np.int32)
        for length, key in reversed(self._keys(prompt[:-1], adapter)):
            entry = self._entries.get(key)
            if entry is not None and entry.adapter == adapter and np.array_equal(entry.token_ids, prompt[:length]):
                self._entries.move_to_end(key)
                self.hits += 1
                return entry.state.snapshot()
            if self.store is not None and (state := self.store.load(key, prompt[:length], adapter)) is not None:
                self.hits += 1
                return state
        return None

    def offer(self, prompt_ids: Sequence[int], state: SequenceState, adapter: str = "") -> None:
        """The state holds a beginning of the prompt, swept as whole chunks; keep a snapshot where that pays."""
        num_chunks, rest = divmod(state.length, self._chunk_tokens)
        if rest or not num_chunks:
            return
        token_ids = np.asarray(prompt_ids[: state.length], dtype=np.int32)
        is_last = num_chunks in _last_chunks(len(prompt_ids), self._chunk_tokens)
        if state.resident_bytes > self._budget_bytes:
            if is_last and self.store is not None:
                self.store.save(self._keys(token_ids, adapter)[-1][1], token_ids, adapter, state)
            return
        if not is_last and num_chunks.bit_count() != 1:
            return
        _, key = self._keys(token_ids, adapter)[-1]
        if key in self._entries:
            self._entries.move_to_end(key)
            return
        snapshot = state.snapshot()
        entry = _Entry(adapter, token_ids, snapshot, snapshot.resident_bytes + token_ids.nbytes)
        self._entries[key] = entry
        self._unsaved[key] = None
        self.resident_bytes += entry.size_bytes
        while self.resident_bytes > self._budget_bytes:
            self._evict()
            self.evictions += 1

    @property
    def has_unsaved(self) -> bool:
        return self.store is not None and bool(self._unsaved)

    def save_one(self) -> None:
        """Bring the newest of what is in memory alone to disk: it is the likeliest to be asked for."""
        if self._unsaved:
            self._save(next(reversed(self._unsaved)))

    def save_all(self) -> None:
        while self.has_unsaved:
            self.save_one()

    def _save(self, key: bytes) -> None:
        del self._unsaved[key]
        if self.store is not None:
            entry = self._entries[key]
            self.store.save(key, entry.token_ids, entry.adapter, entry.state)

    def clear(self) -> None:
        """Give all memory back."""
        self._unsaved.clear()
        while self._entries:
            self._evict()

    def _keys(self, token_ids: np.ndarray, adapter: str) -> list[tuple[int, bytes]]:
        """(length, key) of every beginning that is made of whole chunks, shortest first."""
        hasher, keys = hashlib.blake2b(adapter.encode(), digest_size=16), []
        for stop in range(self._chunk_tokens, len(token_ids) + 1, self._chunk_tokens):
            hasher.update(token_ids[stop - self._chunk_tokens : stop].tobytes())
            keys.append((stop, hasher.digest()))
        return keys

    def _evict(self) -> None:
        key = next(iter(self._entries))
        if key in self._unsaved:
            self._save(key)
        entry = self._entries.pop(key)
        entry.state.close()
        self.resident_bytes -= entry.size_bytes


def _last_chunks(prompt_tokens: int, chunk_tokens: int) -> tuple[int, int]:
    """Whole chunks before the prompt's last token, and of the prompt: one of them is where its next turn begins."""
    return (prompt_tokens - 1) // chunk_tokens, prompt_tokens // chunk_tokens
