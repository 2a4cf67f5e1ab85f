"""Pieces worth a try, by byte-pair merging in two stages: PATCH inside words, then MACRO across the words of a line.

Gives far more pieces than the vocabulary will hold; `pruning` decides which stay. Deterministic.
"""

from __future__ import annotations

from collections import Counter

import numpy as np

from vortex.tokenizer.vortex_tok.core import Core, learn_merges
from vortex.tokenizer.vortex_tok.corpus import Corpus
from vortex.tokenizer.vortex_tok.vocabulary import (
    MAX_MACRO_BYTES,
    MAX_PATCH_BYTES,
    NUM_ESC,
    WORD,
    CodeClass,
    class_of_piece,
    ordered_pieces,
)

PATCH_RATIO = 1.5  # candidates per code of the vocabulary
ALL_RATIO = 3.0
MIN_WEIGHT = 8  # occurrences; rarer pieces are not even tried

_BYTES = ordered_pieces(set())


def patch_candidates(corpus: Corpus, num_codes: int) -> tuple[bytes, ...]:
    """Pieces inside words, the single bytes included."""
    counts: Counter[bytes] = Counter()
    for document in corpus.documents():
        counts.update(WORD.findall(document))
    words = sorted(counts)
    symbols = np.frombuffer(b"".join(words), np.uint8).astype(np.int32)
    starts = np.cumsum([0, *(len(word) for word in words[:-1])]).astype(np.int64)
    weights = np.array([counts[word] for word in words], np.int64)
    merges = learn_merges(
        symbols,
        starts,
        weights,
        [1] * NUM_ESC,
        max_merges=int(PATCH_RATIO * num_codes),
        min_weight=MIN_WEIGHT,
        max_bytes=MAX_PATCH_BYTES,
    )
    return ordered_pieces(set(_spelled(_BYTES, merges)))


def macro_candidates(corpus: Corpus, patches: tuple[bytes, ...], num_codes: int) -> tuple[bytes, ...]:
    """`patches` and pieces made of several of them. A line break can only be at a macro's beginning."""
    core = Core(patches, [1] * len(patches))
    breaks = np.array([b"\n" in piece for piece in patches])
    sequences, starts, total = [], [], 0
    for document in corpus.documents():
        codes = core.encode(document)
        lines = np.flatnonzero(breaks[codes])
        starts.append(np.unique(np.concatenate([[0], lines])) + total)
        sequences.append(codes)
        total += len(codes)
    all_starts = np.concatenate(starts).astype(np.int64)
    wanted = max(0, int(ALL_RATIO * num_codes) - len(patches))
    merges = learn_merges(
        np.concatenate(sequences),
        all_starts,
        np.ones(len(all_starts), np.int64),
        [len(piece) for piece in patches],
        max_merges=wanted,
        min_weight=MIN_WEIGHT,
        max_bytes=MAX_MACRO_BYTES,
    )
    return ordered_pieces({piece for piece in _spelled(patches, merges) if _is_kept(piece)})


def _spelled(pieces: tuple[bytes, ...], merges: list[tuple[int, int]]) -> list[bytes]:
    spelled = list(pieces)
    for left, right in merges:
        spelled.append(spelled[left] + spelled[right])
    return spelled


def _is_kept(piece: bytes) -> bool:
    """A macro that ends in a line break would hide the next line's indentation from the parse."""
    return class_of_piece(piece) is not CodeClass.MACRO or not piece.endswith(b"\n")
