"""The shortest way out of a grammar: from where an answer stands, the fewest tokens after which it is valid.

Promises that what is found is valid and no longer than the limit. Does not promise the very shortest: it walks
greedily (what is forced, then what closes, then the shortest values), and with `effort` tries that many ways at every
fork and keeps the best.
"""

from __future__ import annotations

import numpy as np
from llguidance import LLMatcher

from vortex.decode.structure.vocabulary import GrammarVocabulary

MAX_FORKS = 12  # forks at which several ways are tried; beyond them the walk is greedy


def shortest_close(
    matcher: LLMatcher, vocabulary: GrammarVocabulary, limit_tokens: int, effort: int = 1
) -> list[int] | None:
    """Token ids, maybe none, that bring a copy of `matcher` to a valid end; None where no way within it is known.

    `matcher` is left as it was.
    """
    matcher = matcher.deep_copy()
    path: list[int] = []
    forks = 0
    while not matcher.is_accepting():
        if matcher.is_error() or len(path) >= limit_tokens:
            return None
        forced = matcher.compute_ff_tokens()
        if not forced:
            ways = _ways(matcher, vocabulary, effort if forks < MAX_FORKS else 1)
            if not ways:  # nothing may follow, though nothing is finished
                return None
            forks += len(ways) > 1
            forced = [ways[0] if len(ways) == 1 else _best(matcher, vocabulary, ways, limit_tokens - len(path))]
        if not matcher.consume_tokens(forced):
            return None
        path += forced
    return path if len(path) <= limit_tokens else None


def _ways(matcher: LLMatcher, vocabulary: GrammarVocabulary, effort: int) -> list[int]:
    """Up to `effort` tokens that may come next, the likeliest to end soon first."""
    words = np.frombuffer(matcher.compute_bitmask(), dtype=np.uint8)
    allowed = np.unpackbits(words, bitorder="little").view(np.bool_)
    return [int(token_id) for token_id in vocabulary.closing_order.sort(allowed)[:effort]]


def _best(matcher: LLMatcher, vocabulary: GrammarVocabulary, ways: list[int], limit_tokens: int) -> int:
    """The way whose greedy continuation is shortest; the first of equals."""
    best, best_length = ways[0], limit_tokens
    for token_id in ways:
        branch = matcher.deep_copy()
        if not branch.consume_token(token_id):
            continue
        rest = shortest_close(branch, vocabulary, best_length - 1)
        if rest is not None and len(rest) + 1 < best_length:
            best, best_length = token_id, len(rest) + 1
    return best
