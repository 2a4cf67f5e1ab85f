"""Texts that are nearly one another: the same page saved twice, a document with another date on it.

MinHash over runs of words finds the candidates (Broder, 1997), their shared runs decide. Promises that only a text
which shares `THRESHOLD` of its runs with an earlier one is called its double. Says nothing about meaning.
"""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict

import numpy as np

WORDS_OF_A_RUN = 4
THRESHOLD = 0.8
BANDS, ROWS_OF_A_BAND = 16, 4  # two texts that share 0.8 meet in a band all but surely (1 - (1 - 0.8^4)^16)
_WORD = re.compile(r"\w+")


class NearDuplicates:
    """Texts seen so far. Runs are kept as 64-bit numbers, 8 bytes a word."""

    def __init__(self) -> None:
        chance = np.random.default_rng(0)
        self._factors, self._terms = chance.integers(0, 2**63, (2, BANDS * ROWS_OF_A_BAND, 1), dtype=np.uint64)
        self._factors |= np.uint64(1)
        self._seen: list[np.ndarray] = []
        self._bands: defaultdict[tuple[int, bytes], list[int]] = defaultdict(list)

    def is_new(self, text: str) -> bool:
        """Whether no text seen before is nearly this one; then it is remembered."""
        runs = _runs(text)
        smallest = (runs * self._factors + self._terms).min(axis=1)
        keys = [
            (band, smallest[band * ROWS_OF_A_BAND : (band + 1) * ROWS_OF_A_BAND].tobytes()) for band in range(BANDS)
        ]
        met = {index for key in keys for index in self._bands.get(key, ())}
        if any(_shared(runs, self._seen[index]) >= THRESHOLD for index in met):
            return False
        for key in keys:
            self._bands[key].append(len(self._seen))
        self._seen.append(runs)
        return True


def _runs(text: str) -> np.ndarray:
    """Distinct numbers of the text's runs of words, sorted; a short text is one run."""
    words = _WORD.findall(text.casefold())
    pieces = {
        " ".join(words[start : start + WORDS_OF_A_RUN]) for start in range(max(1, len(words) - WORDS_OF_A_RUN + 1))
    }
    digests = b"".join(hashlib.blake2b(piece.encode(), digest_size=8).digest() for piece in pieces)
    return np.unique(np.frombuffer(digests, dtype=np.uint64))


def _shared(one: np.ndarray, other: np.ndarray) -> float:
    """Of the runs of both, those that both have."""
    common = len(np.intersect1d(one, other, assume_unique=True))
    return common / (len(one) + len(other) - common)
