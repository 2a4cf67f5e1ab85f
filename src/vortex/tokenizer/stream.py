"""Tokens to text, one at a time, never half a character.

Promises that the pieces joined are exactly `decode_bytes` of all tokens at once, for any tokens, broken UTF-8 included.
"""

from __future__ import annotations

import codecs
from collections.abc import Callable


def decode_bytes(data: bytes, *, strip_space: bool) -> str:
    """UTF-8 text; each broken sequence becomes U+FFFD. With `strip_space`, one leading space is dropped."""
    if strip_space and data.startswith(b" "):
        data = data[1:]
    return data.decode("utf-8", errors="replace")


class ByteStreamDecoder:
    """A `StreamDecoder` over any tokenizer: `bytes_of(id)` gives a token's bytes, empty for one that is not shown."""

    def __init__(self, bytes_of: Callable[[int], bytes], *, strip_space: bool) -> None:
        self._bytes_of = bytes_of
        self._strip_space = strip_space
        self._characters = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def push(self, token_id: int) -> str:
        data = self._bytes_of(token_id)
        if self._strip_space and data:
            data = data.removeprefix(b" ")
            self._strip_space = False
        return self._characters.decode(data)

    def flush(self) -> str:
        return self._characters.decode(b"", final=True)
