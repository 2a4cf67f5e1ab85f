"""A tokenizer's vocabulary as the grammar library wants it, built once per model, when the first grammar needs it.

Grammars are matched by bytes, so any tokenizer of `protocols.Tokenizer` will do. Control tokens have no bytes in an
answer: a token that vanishes when it is decoded may come only where the grammar ends.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np
from llguidance import LLMatcher, LLParserLimits, LLTokenizer, TokenizerWrapper

from vortex.errors import RequestError
from vortex.protocols import Tokenizer

CLOSING_BYTES = frozenset(b'"}]')
LETTERS = frozenset(bytes([letter]) for letter in b"abghzAGZ_")
SCALARS = (b"0", b"1", b"null", b"true", b"false")
LIMITS = LLParserLimits(verbose_errors=False)  # messages go to clients: no dumps of parser states


class GrammarVocabulary:
    """`closing_order` is there once `ready` has returned."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._lock = threading.Lock()
        self._library: LLTokenizer | None = None
        self.closing_order = ClosingOrder([], set())

    def ready(self) -> LLTokenizer:
        """The library's tokenizer. The first call takes about a second for 50,000 tokens; others wait for it."""
        with self._lock:
            if self._library is None:
                self._library = self._build()
            return self._library

    def matcher(self, grammar: str) -> LLMatcher:
        """A matcher at the start of `grammar`. RequestError with the library's reason for one it cannot read."""
        matcher = LLMatcher(self.ready(), grammar, log_level=0, limits=LIMITS)
        if matcher.is_error():
            reason = " ".join(matcher.get_error().split())[:300]
            raise RequestError(f"the schema cannot be used as a grammar: {reason}", code="invalid_schema")
        return matcher

    def token_bytes(self, token_id: int) -> bytes:
        return self._tokenizer.token_bytes(token_id)

    @property
    def end_id(self) -> int:
        return min(self._tokenizer.end_ids)

    def _build(self) -> LLTokenizer:
        tokens = [self._tokenizer.token_bytes(token_id) for token_id in range(self._tokenizer.vocab_size)]
        special = [i for i, token in enumerate(tokens) if token and not self._tokenizer.decode([i])]
        self.closing_order = ClosingOrder(tokens, set(special))
        end_ids = sorted(self._tokenizer.end_ids)
        return LLTokenizer(TokenizerWrapper(_Vocabulary(self._tokenizer, tokens, special)), eos_token=end_ids)


class _Vocabulary:
    """What the library reads off a tokenizer."""

    def __init__(self, tokenizer: Tokenizer, tokens: list[bytes], special: list[int]) -> None:
        self.tokens = tokens
        self.special_token_ids = special
        self.eos_token_id = min(tokenizer.end_ids)
        self.bos_token_id = None
        self._tokenizer = tokenizer

    def __call__(self, text: str | bytes) -> Sequence[int]:
        return self._tokenizer.encode(text.decode() if isinstance(text, bytes) else text)


class ClosingOrder:
    """Which tokens end a JSON text soonest. Inside a string brackets are text and a quote closes; outside, a bracket
    closes and a quote opens. `letters` tells the two apart: no value begins with one of them."""

    def __init__(self, tokens: Sequence[bytes], special: set[int]) -> None:
        plain = [i for i, token in enumerate(tokens) if token and i not in special]
        first = {tokens[i]: i for i in reversed(plain)}
        closers = sorted((i for i in plain if set(tokens[i]) <= CLOSING_BYTES), key=lambda i: (-len(tokens[i]), i))
        quotes = [i for i in closers if tokens[i].startswith(b'"')]
        brackets = [i for i in closers if not tokens[i].startswith(b'"')]
        scalars = [first[scalar] for scalar in SCALARS if scalar in first]
        singles = sorted((i for i in plain if len(tokens[i]) == 1), key=lambda i: tokens[i])
        self._inside = _ids([*quotes, *singles])
        self._outside = _ids([*brackets, *scalars, *quotes, *singles])
        self._letters = _ids([i for i in singles if tokens[i] in LETTERS])

    def sort(self, allowed: np.ndarray) -> np.ndarray:
        """The allowed tokens among those that are known to end a text soon, or else all; the soonest first.

        allowed: [vocab] bool. Returns ids [n] int64.
        """
        order = self._inside if allowed[self._letters].any() else self._outside
        ways = order[allowed[order]]
        return ways if len(ways) else np.flatnonzero(allowed)


def _ids(ids: Sequence[int]) -> np.ndarray:
    return np.array(list(dict.fromkeys(ids)), dtype=np.int64)
