"""From candidates to a vocabulary: drop what saves least, encode again, until the size fits and no code is idle.

What a piece saves is (codes its bytes would cost without it, less one) times its uses *outside the document that uses
it most*: a phrase of one document is not language. Costs follow from how often each code is used.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from vortex.tokenizer.vortex_tok.core import Core
from vortex.tokenizer.vortex_tok.corpus import Corpus
from vortex.tokenizer.vortex_tok.vocabulary import NUM_ESC, Parse, ordered_pieces

KEPT_PER_ROUND = 0.85
FEWEST_UNIT = 1 << 20  # what a code costs where codes are counted; its bits only break ties
FEWEST_BIT = 64
UNIGRAM_BIT = 1024
UNIGRAM_ROUNDS = 3
MAX_IDLE_ROUNDS = 20

Pieces = tuple[bytes, ...]


def prune(corpus: Corpus, candidates: Pieces, num_codes: int, said: Callable[[Pieces], None]) -> tuple[Pieces, Pieces]:
    """(`num_codes` pieces that stay, pieces dropped last, best first). `said` hears what is left after each round."""
    pieces, dropped = candidates, ()
    while len(pieces) > num_codes:
        core = Core(pieces, [1] * len(pieces))
        _, elsewhere = core.usage(corpus.data, corpus.ends)
        saved = ((core.costs_without() - 1) * elsewhere)[NUM_ESC:]
        best_first = (np.argsort(-saved, kind="stable") + NUM_ESC).tolist()
        kept = max(num_codes - NUM_ESC, int(len(best_first) * KEPT_PER_ROUND))
        dropped = tuple(pieces[code] for code in best_first[kept:])
        pieces = ordered_pieces({pieces[code] for code in best_first[:kept]})
        said(pieces)
    return pieces, dropped


def without_idle(
    corpus: Corpus, pieces: Pieces, reserve: Pieces, parse: Parse, min_uses: int
) -> tuple[Pieces, tuple[int, ...]]:
    """Pieces that each are used `min_uses` times at least (single bytes excepted), and their costs.

    A code that hardly occurs is never trained and misbehaves when it does. Those are replaced from `reserve` while it
    lasts, then left out.
    """
    spare = list(reserve)
    size = len(pieces)
    for round_number in range(MAX_IDLE_ROUNDS):
        costs = learn_costs(corpus, pieces, parse)
        used = _uses(corpus, pieces, costs, parse)
        busy = {piece for piece, uses in zip(pieces[NUM_ESC:], used[NUM_ESC:], strict=True) if uses >= min_uses}
        if len(busy) == len(pieces) - NUM_ESC:
            return pieces, costs
        if round_number < MAX_IDLE_ROUNDS // 2:
            missing = size - NUM_ESC - len(busy)
            busy.update(spare[:missing])
            del spare[:missing]
        pieces = ordered_pieces(busy)
    return pieces, learn_costs(corpus, pieces, parse)


def learn_costs(corpus: Corpus, pieces: Pieces, parse: Parse) -> tuple[int, ...]:
    """Integer costs, so that every machine parses alike."""
    if parse is Parse.GREEDY:
        return (1,) * len(pieces)
    bits = _bits(_uses(corpus, pieces, (1,) * len(pieces), Parse.FEWEST))
    if parse is Parse.FEWEST:
        return tuple((FEWEST_UNIT + np.rint(bits * FEWEST_BIT)).astype(np.int64).tolist())
    for _ in range(UNIGRAM_ROUNDS):
        costs = tuple(np.maximum(1, np.rint(bits * UNIGRAM_BIT)).astype(np.int64).tolist())
        bits = _bits(_uses(corpus, pieces, costs, parse))
    return costs


def _uses(corpus: Corpus, pieces: Pieces, costs: tuple[int, ...], parse: Parse) -> np.ndarray:
    used, _ = Core(pieces, costs, parse is Parse.GREEDY).usage(corpus.data, corpus.ends)
    return used


def _bits(used: np.ndarray) -> np.ndarray:
    counts = np.maximum(used, 0.5)
    return np.asarray(-np.log2(counts / counts.sum()), np.float64)
