"""A vocabulary: which byte strings have a code, what each costs, and which ids stand outside text.

Ids in order, each class one range without gaps: ESC (0..255, the single bytes, always all of them), PATCH (short
pieces of at most 16 bytes inside a word), MACRO (longer pieces and pieces across words), then special tokens, which no
text ever becomes. Promises that a `Vocabulary` that exists is well formed. Does not read files or encode.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from enum import StrEnum

from vortex.errors import ModelFileError

NUM_ESC = 256
MAX_PATCH_BYTES = 16
MAX_MACRO_BYTES = 48
MAX_PIECE_BYTES = 255  # lengths are single bytes in the file
MAX_COST = 2**24
DEFAULT_SPECIALS = ("<|begin|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>", "<|tool|>", "<|end_of_turn|>")

# What counts as one word when PATCH pieces are learnt. Bytes above 0x7f count as letters: they are parts of characters.
WORD = re.compile(rb" ?[A-Za-z\x80-\xff]+| ?[0-9]{1,3}| ?[^\sA-Za-z0-9\x80-\xff]+|\s+(?=\S)|\s+")


class CodeClass(StrEnum):
    ESC = "esc"
    PATCH = "patch"
    MACRO = "macro"
    SPECIAL = "special"


class Parse(StrEnum):
    """Which of the many ways to write bytes as codes is taken. All are lossless; the codes' costs tell them apart."""

    GREEDY = "greedy"  # the longest piece, from left to right
    FEWEST = "fewest"  # the fewest codes; among those, the likeliest
    UNIGRAM = "unigram"  # the likeliest codes, each by its frequency in training


def class_of_piece(piece: bytes) -> CodeClass:
    if len(piece) == 1:
        return CodeClass.ESC
    if len(piece) <= MAX_PATCH_BYTES and WORD.fullmatch(piece):
        return CodeClass.PATCH
    return CodeClass.MACRO


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """pieces: bytes of every text code. costs: integer cost of each under `parse` (all 1 where it is greedy).

    Raises ModelFileError where the pieces are not a vocabulary.
    """

    pieces: tuple[bytes, ...]
    costs: tuple[int, ...]
    parse: Parse
    specials: tuple[str, ...] = DEFAULT_SPECIALS

    def __post_init__(self) -> None:
        if self.pieces[:NUM_ESC] != tuple(bytes([value]) for value in range(NUM_ESC)):
            raise ModelFileError("not a Vortex-Tok vocabulary: codes 0 to 255 are not the 256 single bytes")
        if len(set(self.pieces)) != len(self.pieces):
            raise ModelFileError("not a Vortex-Tok vocabulary: the same piece has two codes")
        if not all(1 <= len(piece) <= MAX_PIECE_BYTES for piece in self.pieces):
            raise ModelFileError(f"not a Vortex-Tok vocabulary: pieces have 1 to {MAX_PIECE_BYTES} bytes")
        if len(self.costs) != len(self.pieces) or not all(1 <= cost <= MAX_COST for cost in self.costs):
            raise ModelFileError(f"not a Vortex-Tok vocabulary: every code needs a cost from 1 to {MAX_COST}")
        if self.pieces != ordered_pieces(set(self.pieces)):
            raise ModelFileError("not a Vortex-Tok vocabulary: its codes are not in the order of their classes")
        if not all(self.specials) or len(set(self.specials)) != len(self.specials):
            raise ModelFileError("not a Vortex-Tok vocabulary: special tokens must be different and not empty")

    @property
    def num_codes(self) -> int:
        """Codes that text can become; special tokens come after them."""
        return len(self.pieces)

    @property
    def size(self) -> int:
        """All ids: text codes and special tokens."""
        return len(self.pieces) + len(self.specials)

    def class_of(self, token_id: int) -> CodeClass:
        return CodeClass.SPECIAL if token_id >= self.num_codes else class_of_piece(self.pieces[token_id])

    def count(self, code_class: CodeClass) -> int:
        if code_class is CodeClass.SPECIAL:
            return len(self.specials)
        return sum(class_of_piece(piece) is code_class for piece in self.pieces)

    def fingerprint(self) -> bytes:
        """16 bytes that change when any id would mean something else, or text would become other ids."""
        digest = hashlib.sha256(self.parse.encode())
        for piece, cost in zip(self.pieces, self.costs, strict=True):
            digest.update(bytes([len(piece)]) + piece + cost.to_bytes(4, "little"))
        for special in self.specials:
            data = special.encode()
            digest.update(len(data).to_bytes(4, "little") + data)
        return digest.digest()[:16]


_RANK = {CodeClass.ESC: 0, CodeClass.PATCH: 1, CodeClass.MACRO: 2}


def ordered_pieces(pieces: set[bytes]) -> tuple[bytes, ...]:
    """All single bytes, then the others by class, shorter first: the order of ids."""
    others = sorted(
        (piece for piece in pieces if len(piece) > 1),
        key=lambda piece: (_RANK[class_of_piece(piece)], len(piece), piece),
    )
    return (*(bytes([value]) for value in range(NUM_ESC)), *others)
