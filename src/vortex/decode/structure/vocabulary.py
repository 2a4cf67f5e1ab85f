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

MAX_SPELLED_BYTES = 24  # of a token that a way out is spelled with
LIMITS = LLParserLimits(verbose_errors=False)  # messages go to clients: no dumps of parser states


class GrammarVocabulary:
    """Matchers of grammars, over the model's tokens and over single bytes."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._lock = threading.Lock()
        self._library: LLTokenizer | None = None
        self._bytes = LLTokenizer("byte")
        self._ids: dict[bytes, int] = {}
        self._longest: dict[bytes, int] = {}  # of the tokens that begin with these two bytes
        self._digits = np.zeros(0, dtype=np.uint32)
        self.end_ids = tokenizer.end_ids

    def ready(self) -> LLTokenizer:
        """The library's tokenizer. The first call takes about a second for 50,000 tokens; others wait for it."""
        with self._lock:
            if self._library is None:
                self._library = self._build()
            return self._library

    def matcher(self, grammar: str) -> LLMatcher:
        """A matcher at the start of `grammar`. RequestError with the library's reason for one it cannot read."""
        return _matcher(self.ready(), grammar)

    def bytes_matcher(self, grammar: str) -> LLMatcher:
        """The same over single bytes: copied and moved in a microsecond, whatever the model's vocabulary."""
        return _matcher(self._bytes, grammar)

    def spell(self, data: bytes) -> list[int]:
        """Bytes as tokens: at every place the longest that fits. Not the tokenizer's own choice, and always exact."""
        self.ready()
        spelled, at = [], 0
        while at < len(data):
            longest = min(self._longest.get(data[at : at + 2], 1), len(data) - at)
            length = next((n for n in range(longest, 0, -1) if data[at : at + n] in self._ids), 0)
            assert length, f"no token is spelled {data[at : at + 1]!r}"
            spelled.append(self._ids[data[at : at + length]])
            at += length
        return spelled

    def digit_words(self, size_words: int) -> np.ndarray:
        """[size_words] uint32: tokens that begin with a digit, one bit each, lowest id in the lowest bit."""
        self.ready()
        return np.pad(self._digits, (0, max(0, size_words - len(self._digits))))[:size_words]

    def token_bytes(self, token_id: int) -> bytes:
        return self._tokenizer.token_bytes(token_id)

    @property
    def end_id(self) -> int:
        return min(self._tokenizer.end_ids)

    def _build(self) -> LLTokenizer:
        tokens = [self._tokenizer.token_bytes(token_id) for token_id in range(self._tokenizer.vocab_size)]
        special = [i for i, token in enumerate(tokens) if token and not self._tokenizer.decode([i])]
        hidden = set(special)
        self._ids = {tokens[i]: i for i in reversed(range(len(tokens))) if tokens[i] and i not in hidden}
        for token in self._ids:
            if 1 < len(token) <= MAX_SPELLED_BYTES:
                self._longest[token[:2]] = max(self._longest.get(token[:2], 1), len(token))
        begins = np.array([token[:1].isdigit() for token in tokens], dtype=np.uint8)
        packed = np.packbits(np.pad(begins, (0, -len(begins) % 32)), bitorder="little")
        self._digits = packed.view(np.uint32)
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


def _matcher(library: LLTokenizer, grammar: str) -> LLMatcher:
    matcher = LLMatcher(library, grammar, log_level=0, limits=LIMITS)
    if matcher.is_error():
        raise RequestError("the schema cannot be used as a grammar", code="invalid_schema")
    return matcher
