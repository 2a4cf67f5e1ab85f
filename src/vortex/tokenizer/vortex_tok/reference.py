"""The tokenizer's core in plain Python: the oracle of the native one, and its stand-in where no compiler was at hand.

Promises the same codes as the native core (src/native/vortex_tok), bit for bit. About a hundred times slower.

The cheapest way to write bytes as codes is one forward pass: from every position, try every piece that starts there,
and keep for each position the cheapest way to reach it. A prefix is final once every path that is still open goes
through it; where paths never meet (one byte repeated), the parse is cut so that memory stays bounded.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from vortex.tokenizer.vortex_tok.vocabulary import NUM_ESC

CHECK_EVERY_BYTES = 4096
MAX_OPEN_BYTES = 65536

Trie = dict[int, Any]  # byte -> Trie; _END -> code
_END = -1


class Core:
    """Encoder and decoder of a list of pieces. `costs`: one positive integer each. `greedy` ignores them."""

    def __init__(self, pieces: Sequence[bytes], costs: Sequence[int], greedy: bool = False) -> None:
        if len(costs) != len(pieces):
            raise ValueError("one cost per piece")
        self.pieces, self.costs, self.greedy = list(pieces), list(costs), greedy
        self.trie: Trie = {}
        self.longest = max(len(piece) for piece in pieces)
        for code, piece in enumerate(pieces):
            node = self.trie
            for byte in piece:
                node = node.setdefault(byte, {})
            if _END in node:
                raise ValueError("the same piece twice")
            node[_END] = code
        if any(_END not in self.trie.get(byte, {}) for byte in range(NUM_ESC)):
            raise ValueError("every single byte must be a piece")

    def encode(self, data: bytes) -> np.ndarray:
        """[codes] int32."""
        encoder = StreamEncoder(self)
        return np.concatenate([encoder.push(data), encoder.finish()])

    def decode(self, codes: np.ndarray) -> bytes:
        """Raises IndexError for a code out of range."""
        if len(codes) and (codes.min() < 0 or codes.max() >= len(self.pieces)):
            raise IndexError("code out of range")
        return b"".join(self.pieces[code] for code in codes.tolist())

    def usage(self, documents: bytes, ends: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Per code, int64: times used, and times used outside the one document that uses it most."""
        used, most = np.zeros(len(self.pieces), np.int64), np.zeros(len(self.pieces), np.int64)
        begin = 0
        for end in ends.tolist():
            here = np.bincount(self.encode(documents[begin:end]), minlength=len(self.pieces))
            used += here
            most = np.maximum(most, here)
            begin = end
        return used, used - most

    def costs_without(self) -> np.ndarray:
        """Per code, int64: the cost of its own bytes without it (for single bytes: its own cost)."""
        return np.array([self._cost_without(code) for code in range(len(self.pieces))], np.int64)

    def _cost_without(self, code: int) -> int:
        piece = self.pieces[code]
        if len(piece) == 1:
            return self.costs[code]
        best = [0] + [-1] * len(piece)
        for start in range(len(piece)):
            for end, other in self.matches(piece, start):
                cost = best[start] + self.costs[other]
                if other != code and (best[end] < 0 or cost < best[end]):
                    best[end] = cost
        return best[-1]

    def matches(self, data: bytes | bytearray, start: int) -> Iterator[tuple[int, int]]:
        """(end, code) of every piece that starts at `start`, shortest first."""
        node = self.trie
        for at in range(start, len(data)):
            if data[at] not in node:
                return
            node = node[data[at]]
            if _END in node:
                yield at + 1, node[_END]


class StreamEncoder:
    """Bytes in chunks of any size; the codes do not depend on how they were cut."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._reset()

    def _reset(self) -> None:
        self._open = bytearray()  # bytes after the last final code
        self._best: dict[int, int] = {0: 0}  # position in _open -> cheapest cost to reach it
        self._last: dict[int, tuple[int, int]] = {}  # position -> (code, start) of that path's last piece
        self._expanded = 0
        self._next_check = 0  # no check before so many positions are open
        self._total = 0  # bytes expanded since the start: checks fall at fixed places

    def push(self, data: bytes) -> np.ndarray:
        """Codes that are final now: [codes] int32."""
        out: list[int] = []
        for at in range(0, len(data), CHECK_EVERY_BYTES):
            self._open += data[at : at + CHECK_EVERY_BYTES]
            self._advance(len(self._open) - self._core.longest, out)
        return np.array(out, np.int32)

    def finish(self) -> np.ndarray:
        """The rest; the encoder starts anew."""
        out: list[int] = []
        self._advance(len(self._open), out)
        if not self._core.greedy:
            self._commit(len(self._open), out)
        self._reset()
        return np.array(out, np.int32)

    def _advance(self, limit: int, out: list[int]) -> None:
        """Try the pieces of every position before `limit`: those see all bytes that a piece could take."""
        if self._core.greedy:
            at = 0
            while at < limit:
                *_, (at, code) = self._core.matches(self._open, at)
                out.append(code)
            del self._open[:at]
            return
        while self._expanded < limit:
            self._expand(self._expanded)
            self._expanded += 1
            self._total += 1
            if self._total % CHECK_EVERY_BYTES == 0 and self._expanded >= self._next_check:
                limit -= self._check(out)

    def _expand(self, start: int) -> None:
        here = self._best[start]
        for end, code in self._core.matches(self._open, start):
            cost = here + self._core.costs[code]
            if end not in self._best or cost < self._best[end]:  # of equal paths, the one whose last piece is longest
                self._best[end] = cost
                self._last[end] = (code, start)

    def _check(self, out: list[int]) -> int:
        """Commit up to where all open paths meet; the number of bytes committed."""
        fronts = {at for at in self._best if at >= self._expanded}
        while len(fronts) > 1:
            latest = max(fronts)
            fronts.remove(latest)
            fronts.add(self._last[latest][1])
        meeting = fronts.pop()
        self._next_check = 0
        if meeting > 0:
            return self._commit(meeting, out)
        if self._expanded >= MAX_OPEN_BYTES:
            self._best = {at: cost for at, cost in self._best.items() if at <= self._expanded}
            return self._commit(self._expanded, out)
        self._next_check = 2 * self._expanded  # looking back costs as much as what is open: look twice as far apart
        return 0

    def _commit(self, at: int, out: list[int]) -> int:
        """Emit the path to `at` and make it the new origin."""
        codes, position = [], at
        while position > 0:
            code, position = self._last[position]
            codes.append(code)
        out += reversed(codes)
        origin = self._best[at]
        self._best = {later - at: cost - origin for later, cost in self._best.items() if later >= at}
        self._last = {later - at: (c, start - at) for later, (c, start) in self._last.items() if later > at}
        del self._open[:at]
        self._expanded = max(0, self._expanded - at)
        return at


def learn_merges(
    symbols: np.ndarray,
    starts: np.ndarray,
    weights: np.ndarray,
    lengths: Sequence[int],
    *,
    max_merges: int,
    min_weight: int,
    max_bytes: int,
) -> list[tuple[int, int]]:
    """Join the heaviest adjacent pair into a new symbol, again and again (ties: the lower pair).

    symbols: [n] int32, all sequences in one array; starts, weights: int64, one per sequence; lengths: bytes of each
    initial symbol. New symbols get the ids after them, none longer than `max_bytes`. A pair lighter than `min_weight`
    is never joined. As in the native core, a pair's weight is what it was when its newer symbol was made, less what
    later merges took away.
    """
    bounds = [*starts.tolist(), len(symbols)]
    sequences = [symbols[a:b].tolist() for a, b in pairwise(bounds)]
    scale, sizes = weights.tolist(), list(lengths)
    heavy = _pair_weights(sequences, scale)
    heavy = Counter(
        {pair: weight for pair, weight in heavy.items() if _admitted(pair, weight, sizes, min_weight, max_bytes)}
    )
    merges: list[tuple[int, int]] = []
    while len(merges) < max_merges and heavy:
        weight, negative = max((weight, (-left, -right)) for (left, right), weight in heavy.items())
        if weight < min_weight:
            break
        pair = (-negative[0], -negative[1])
        before = _pair_weights(sequences, scale)
        sequences = [_joined(sequence, pair, len(sizes)) for sequence in sequences]
        after = _pair_weights(sequences, scale)
        sizes.append(sizes[pair[0]] + sizes[pair[1]])
        merges.append(pair)
        del heavy[pair]
        for other in list(heavy):
            heavy[other] -= before[other] - after[other]
        for other, new_weight in after.items():
            if len(sizes) - 1 in other and _admitted(other, new_weight, sizes, min_weight, max_bytes):
                heavy[other] = new_weight
    return merges


def _admitted(pair: tuple[int, int], weight: int, sizes: Sequence[int], min_weight: int, max_bytes: int) -> bool:
    return weight >= min_weight and sizes[pair[0]] + sizes[pair[1]] <= max_bytes


def _pair_weights(sequences: Sequence[Sequence[int]], scale: Sequence[int]) -> Counter[tuple[int, int]]:
    weights: Counter[tuple[int, int]] = Counter()
    for sequence, weight in zip(sequences, scale, strict=True):
        for pair in pairwise(sequence):
            weights[pair] += weight
    return weights


def _joined(sequence: Sequence[int], pair: tuple[int, int], merged: int) -> list[int]:
    out: list[int] = []
    at = 0
    while at < len(sequence):
        if at + 1 < len(sequence) and (sequence[at], sequence[at + 1]) == pair:
            out.append(merged)
            at += 2
        else:
            out.append(sequence[at])
            at += 1
    return out
