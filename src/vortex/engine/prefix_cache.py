"""Prompts that begin alike share the beginning: snapshots of states at whole-chunk boundaries, least used out first.

Promises: a state that is handed out was computed by sweeping exactly these tokens with this adapter (or none), from
position 0, as prompt chunks cut at the same places as a cold prompt's (so reuse changes no bit, whatever the model's
exactness); keys are hashes, but tokens are compared; the snapshots together stay within the byte budget.
Not every boundary is kept, since a snapshot may be a copy: the last one (the next turn of a conversation begins there)
and those after 1, 2, 4, 8, … chunks (a shared system prompt is found to at least half). So a prompt costs at most
three times its own state.
Not thread-safe: it belongs to the engine's thread.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vortex.types import SequenceState


@dataclass(frozen=True, slots=True)
class _Entry:
    adapter: str
    token_ids: np.ndarray  # [length] int32
    state: SequenceState
    size_bytes: int


class PrefixCache:
    """`hits` and `evictions` count since the start."""

    def __init__(self, *, chunk_tokens: int, budget_bytes: int) -> None:
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
        return None

    def offer(self, prompt_ids: Sequence[int], state: SequenceState, adapter: str = "") -> None:
        """The state holds a beginning of the prompt, swept as whole chunks; keep a snapshot where that pays."""
        if not self._worth_keeping(state, len(prompt_ids)):
            return
        token_ids = np.asarray(prompt_ids[: state.length], dtype=np.int32)
        _, key = self._keys(token_ids, adapter)[-1]
        if key in self._entries:
            self._entries.move_to_end(key)
            return
        snapshot = state.snapshot()
        entry = _Entry(adapter, token_ids, snapshot, snapshot.resident_bytes + token_ids.nbytes)
        self._entries[key] = entry
        self.resident_bytes += entry.size_bytes
        while self.resident_bytes > self._budget_bytes:
            self._evict()
            self.evictions += 1

    def clear(self) -> None:
        """Give all memory back."""
        while self._entries:
            self._evict()

    def _worth_keeping(self, state: SequenceState, prompt_tokens: int) -> bool:
        num_chunks, rest = divmod(state.length, self._chunk_tokens)
        if rest or not num_chunks or state.resident_bytes > self._budget_bytes:
            return False
        is_last = num_chunks in ((prompt_tokens - 1) // self._chunk_tokens, prompt_tokens // self._chunk_tokens)
        return is_last or num_chunks.bit_count() == 1

    def _keys(self, token_ids: np.ndarray, adapter: str) -> list[tuple[int, bytes]]:
        """(length, key) of every beginning that is made of whole chunks, shortest first."""
        hasher, keys = hashlib.blake2b(adapter.encode(), digest_size=16), []
        for stop in range(self._chunk_tokens, len(token_ids) + 1, self._chunk_tokens):
            hasher.update(token_ids[stop - self._chunk_tokens : stop].tobytes())
            keys.append((stop, hasher.digest()))
        return keys

    def _evict(self) -> None:
        _, entry = self._entries.popitem(last=False)
        entry.state.close()
        self.resident_bytes -= entry.size_bytes
