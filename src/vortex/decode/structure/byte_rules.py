"""Rules about bytes that hold for every answer where the settings ask for them.

`decode.escape_restrict`: the answer is valid UTF-8 at every token. Vocabularies with single bytes (Vortex-Tok's ESC
codes, byte fallbacks) may otherwise write half characters. `decode.exact_copy_mode: quotes`: what the answer puts
between double quotation marks continues, byte by byte, some place of the prompt, until the quotation is closed.

Answers under a schema or a tool call have a grammar of their own, and these rules keep out of it.
"""

from __future__ import annotations

import codecs
import threading
from collections.abc import Sequence

import numpy as np

from vortex.protocols import Tokenizer

MAX_COPIED_TOKEN_BYTES = 32


class ByteVocabulary:
    """A tokenizer's tokens as bytes, read once, when the first rule needs them. Safe to share."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._lock = threading.Lock()
        self._tokens: list[bytes] | None = None
        self._ids: dict[bytes, int] = {}
        self._valid: dict[bytes, np.ndarray] = {}

    def token_bytes(self, token_id: int) -> bytes:
        return self._read()[token_id]

    def text_of(self, token_ids: Sequence[int]) -> bytes:
        tokens = self._read()
        return b"".join(tokens[token_id] for token_id in token_ids)

    def id_of(self, token: bytes) -> int | None:
        self._read()
        return self._ids.get(token)

    def closing_ids(self) -> np.ndarray:
        """Tokens that begin with a quotation mark."""
        return np.array([i for i, token in enumerate(self._read()) if token[:1] == b'"'], dtype=np.int64)

    def valid_after(self, pending: bytes) -> np.ndarray:
        """[vocab] bool: tokens that keep a text valid whose last bytes are `pending`, the beginning of a character."""
        tokens = self._read()
        with self._lock:
            if pending not in self._valid:
                self._valid[pending] = np.array([_rest(pending, token) is not None for token in tokens])
            return self._valid[pending]

    @property
    def size(self) -> int:
        return len(self._read())

    def _read(self) -> list[bytes]:
        with self._lock:
            if self._tokens is None:
                read = self._tokenizer
                special = read.end_ids
                tokens = [b"" if i in special else read.token_bytes(i) for i in range(read.vocab_size)]
                self._ids = {token: i for i, token in reversed(list(enumerate(tokens))) if token}
                self._tokens = tokens
            return self._tokens


class WholeCharacters:
    """A TokenConstraint: no token that makes the text invalid UTF-8, and no end inside a character."""

    is_finished = False

    def __init__(self, vocabulary: ByteVocabulary) -> None:
        self._vocabulary = vocabulary
        self._pending = b""

    def mask(self) -> np.ndarray:
        return self._vocabulary.valid_after(self._pending)

    def settle(self, token_id: int) -> int:
        return token_id

    def advance(self, token_id: int) -> None:
        self._pending = _rest(self._pending, self._vocabulary.token_bytes(token_id)) or b""

    def copy(self) -> WholeCharacters:
        twin = WholeCharacters(self._vocabulary)
        twin._pending = self._pending
        return twin


class ExactQuotes:
    """A TokenConstraint: between double quotation marks only what continues a place of the prompt, or the end of the
    quotation. A quotation that begins with words that are nowhere in the prompt is left alone: it is speech."""

    is_finished = False

    def __init__(self, vocabulary: ByteVocabulary, prompt_ids: Sequence[int]) -> None:
        self._vocabulary = vocabulary
        self._prompt = vocabulary.text_of(prompt_ids)
        self._closing = vocabulary.closing_ids()
        self._quoted: bytes | None = None  # since the opening mark; None outside
        self._is_speech = False

    def mask(self) -> np.ndarray | None:
        if not self._quoted or self._is_speech:
            return None  # outside, or just opened: how it begins is free
        allowed = np.zeros(self._vocabulary.size, dtype=np.bool_)
        allowed[self._closing] = True
        for place in self._places(self._quoted):
            following = self._prompt[place : place + MAX_COPIED_TOKEN_BYTES]
            for length in range(1, len(following) + 1):
                token_id = self._vocabulary.id_of(following[:length])
                if token_id is not None:
                    allowed[token_id] = True
        return allowed

    def settle(self, token_id: int) -> int:
        return token_id

    def advance(self, token_id: int) -> None:
        pieces = self._vocabulary.token_bytes(token_id).split(b'"')
        for index, piece in enumerate(pieces):
            if index:  # a mark stands before it
                self._quoted, self._is_speech = (b"" if self._quoted is None else None), False
            if self._quoted is not None and not self._is_speech:
                self._quoted += piece
                self._is_speech = self._quoted not in self._prompt

    def copy(self) -> ExactQuotes:
        twin = ExactQuotes.__new__(ExactQuotes)
        twin.__dict__.update(self.__dict__)
        return twin

    def _places(self, quoted: bytes) -> list[int]:
        """Positions behind every occurrence."""
        places, start = [], self._prompt.find(quoted)
        while start >= 0:
            places.append(start + len(quoted))
            start = self._prompt.find(quoted, start + 1)
        return places


class Both:
    """A TokenConstraint: what two of them allow."""

    def __init__(self, first: WholeCharacters, second: ExactQuotes) -> None:
        self._first, self._second = first, second

    def mask(self) -> np.ndarray:
        first, second = self._first.mask(), self._second.mask()
        return first if second is None or not (first & second).any() else first & second

    def settle(self, token_id: int) -> int:
        return token_id

    def advance(self, token_id: int) -> None:
        self._first.advance(token_id)
        self._second.advance(token_id)

    @property
    def is_finished(self) -> bool:
        return False

    def copy(self) -> Both:
        return Both(self._first.copy(), self._second.copy())


def _rest(pending: bytes, token: bytes) -> bytes | None:
    """What is begun and not finished of the last character after `token`; None where the text is not valid UTF-8."""
    if not token:
        return None if pending else b""
    decoder = codecs.getincrementaldecoder("utf-8")("strict")
    try:
        decoder.decode(pending + token)
    except UnicodeDecodeError:
        return None
    rest = decoder.getstate()[0]
    if rest[:1] == b"\xed" and rest[1:2] >= b"\xa0":  # half of a surrogate: the library waits, and nothing can follow
        return None
    return _like(rest)


def _like(rest: bytes) -> bytes:
    """One for all beginnings that the same bytes may follow, so that few masks are made."""
    if not rest:
        return rest
    if len(rest) == 1:
        if rest in (b"\xe0", b"\xed", b"\xf0", b"\xf4"):  # what may follow these is narrower
            return rest
        return b"\xc3" if rest < b"\xe0" else b"\xe2" if rest < b"\xf0" else b"\xf1"
    return b"\xe2\x82" if rest < b"\xf0" else b"\xf1\x80\x80"[: len(rest)]
