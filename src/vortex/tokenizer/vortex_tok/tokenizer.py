"""Vortex-Tok behind the house's `Tokenizer` protocol, and its own face in bytes.

Promises that decoding gives back every byte, also of broken UTF-8, and that special tokens come from ids alone: text is
never parsed for them unless asked. Immutable; safe to use from several threads.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vortex.errors import RequestError
from vortex.tokenizer.stream import ByteStreamDecoder
from vortex.tokenizer.vortex_tok.core import Core, StreamEncoder
from vortex.tokenizer.vortex_tok.files import SHIPPED_FOLDER, load_vocabulary
from vortex.tokenizer.vortex_tok.vocabulary import Parse, Vocabulary

BEGIN = "<|begin|>"
ENDS = ("<|end|>", "<|end_of_turn|>")


class VortexTokenizer:
    """A `vortex.protocols.Tokenizer` over a `Vocabulary`."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.vocabulary = vocabulary
        self.fingerprint = vocabulary.fingerprint()
        self._core = Core(vocabulary.pieces, vocabulary.costs, vocabulary.parse is Parse.GREEDY)
        self._special_ids = {text: vocabulary.num_codes + i for i, text in enumerate(vocabulary.specials)}
        longest_first = sorted(vocabulary.specials, key=len, reverse=True)
        self._special_text = re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")

    @property
    def vocab_size(self) -> int:
        return self.vocabulary.size

    @property
    def end_ids(self) -> frozenset[int]:
        return frozenset(self._special_ids[text] for text in ENDS if text in self._special_ids)

    def encode_bytes(self, data: bytes) -> np.ndarray:
        """Any bytes as text codes: [codes] int32. Never gives special ids."""
        return self._core.encode(data)

    def decode_bytes(self, codes: np.ndarray | Sequence[int]) -> bytes:
        """The bytes of text codes. Raises RequestError for anything that is not one."""
        array = np.ascontiguousarray(codes, np.int64)
        if array.size and not 0 <= array.min() <= array.max() < self.vocabulary.num_codes:
            raise RequestError(
                f"a code is out of range: this vocabulary has codes 0 to {self.vocabulary.num_codes - 1}"
            )
        return bytes(self._core.decode(array.astype(np.int32)))

    def stream_encoder(self) -> StreamEncoder:
        """Takes bytes in chunks by `push`, then `finish`; the same codes as `encode_bytes`, in bounded memory."""
        return StreamEncoder(self._core)

    def encode(self, text: str, *, special: bool = False, add_bos: bool = False) -> list[int]:
        ids = [self._special_ids[BEGIN]] if add_bos and BEGIN in self._special_ids else []
        at = 0
        for found in self._special_text.finditer(text) if special else ():
            ids += self._plain(text[at : found.start()])
            ids.append(self._special_ids[found.group()])
            at = found.end()
        return ids + self._plain(text[at:])

    def _plain(self, text: str) -> list[int]:
        codes: list[int] = self.encode_bytes(text.encode("utf-8", errors="surrogatepass")).tolist()
        return codes

    def decode(self, token_ids: Sequence[int], *, special: bool = False) -> str:
        """Broken UTF-8 becomes U+FFFD; `decode_bytes` keeps it."""
        return b"".join(self._shown(token_id, special) for token_id in token_ids).decode("utf-8", errors="replace")

    def token_bytes(self, token_id: int) -> bytes:
        """A special token's bytes are its spelling. Raises RequestError for an id out of range."""
        if not 0 <= token_id < self.vocab_size:
            raise RequestError(
                f"token id {token_id} is out of range: this vocabulary has ids 0 to {self.vocab_size - 1}"
            )
        if token_id >= self.vocabulary.num_codes:
            return self.vocabulary.specials[token_id - self.vocabulary.num_codes].encode()
        return self.vocabulary.pieces[token_id]

    def _shown(self, token_id: int, special: bool) -> bytes:
        data = self.token_bytes(token_id)
        return data if special or token_id < self.vocabulary.num_codes else b""

    def stream_decoder(self, shown: frozenset[int] = frozenset()) -> ByteStreamDecoder:
        """Its pieces joined equal `decode(ids)`."""
        return ByteStreamDecoder(lambda token_id: self._shown(token_id, token_id in shown), strip_space=False)


def load_vortex_tokenizer(folder: Path = SHIPPED_FOLDER) -> VortexTokenizer:
    """The tokenizer of a folder; without one, the tokenizer that ships with the program.

    Raises ModelNotFound, ModelFileError.
    """
    return VortexTokenizer(load_vocabulary(folder))
