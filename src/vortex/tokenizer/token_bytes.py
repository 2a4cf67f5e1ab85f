"""The bytes a token stands for, by the way its vocabulary writes bytes.

Byte-level vocabularies write every byte as one printable character (GPT-2's alphabet); SentencePiece ones write a
space as U+2581 and a lone byte as `<0x0A>`. Concatenated bytes of tokens are the text; a token may hold part of a
character.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from tokenizers import Tokenizer as RustTokenizer

from vortex.errors import UnsupportedModel
from vortex.tokenizer.sentencepiece import SPACE

_BYTE_PIECE = re.compile(r"<0x([0-9A-Fa-f]{2})>")


def _byte_alphabet() -> dict[str, int]:
    """GPT-2's character → byte: printable Latin-1 stands for itself, the rest follows from U+0100 on."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    alphabet = {chr(byte): byte for byte in printable}
    others = [byte for byte in range(256) if byte not in printable]
    alphabet.update({chr(0x100 + i): byte for i, byte in enumerate(others)})
    return alphabet


_ALPHABET = _byte_alphabet()


def byte_level_bytes(piece: str) -> bytes:
    """A piece with a character outside the alphabet is plain text (an added token)."""
    try:
        return bytes(_ALPHABET[character] for character in piece)
    except KeyError:
        return piece.encode()


def sentencepiece_bytes(piece: str) -> bytes:
    lone = _BYTE_PIECE.fullmatch(piece)
    return bytes([int(lone[1], 16)]) if lone else piece.replace(SPACE, " ").encode()


def piece_reader(tokenizer: RustTokenizer) -> tuple[Callable[[str], bytes], bool]:
    """How pieces of this tokenizer become bytes, and whether a decoded text loses one leading space.

    Raises UnsupportedModel for vocabularies that write bytes in neither way (WordPiece, for instance).
    """
    none = '{"type": "nothing"}'
    decoder: dict[str, Any] = json.loads(none if tokenizer.decoder is None else tokenizer.decoder.__getstate__())
    parts: list[dict[str, Any]] = decoder["decoders"] if decoder["type"] == "Sequence" else [decoder]
    kinds = {part["type"] for part in parts}
    if "ByteLevel" in kinds:
        return byte_level_bytes, False
    if kinds & {"ByteFallback", "Metaspace"}:
        strips = any(part["type"] == "Strip" and part["start"] for part in parts)
        prefixed = any(part["type"] == "Metaspace" and part.get("prepend_scheme") != "never" for part in parts)
        return sentencepiece_bytes, strips or prefixed
    raise UnsupportedModel(
        f"tokenizers that decode by {', '.join(sorted(kinds))} are not supported; "
        "use a model with a byte-level or SentencePiece vocabulary"
    )
