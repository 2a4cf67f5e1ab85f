"""SentencePiece BPE in the terms of `tokenizer.json`: spaces written as U+2581, bytes as `<0x0A>`, merges by score.

SentencePiece lists no merges: of all neighbours whose joined text is a piece it joins the pair with the highest score,
leftmost first. A list of merges in the order of the joined piece's score says the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

SPACE = "\u2581"


def sentencepiece_merges(mergeable: Mapping[str, int], scores: Sequence[float]) -> list[str]:
    """Pairs "left right" that join into a piece, best first.

    `mergeable` maps ordinary pieces (not control, byte or user-defined ones) to ids; `scores[id]` ranks them.
    """
    merges: list[str] = []
    for piece, _ in sorted(mergeable.items(), key=lambda item: (-scores[item[1]], item[1])):
        pairs = [(piece[:cut], piece[cut:]) for cut in range(1, len(piece))]
        spelled = [pair for pair in pairs if pair[0] in mergeable and pair[1] in mergeable]
        spelled.sort(key=lambda pair: mergeable[pair[0]])
        merges += [f"{left} {right}" for left, right in spelled]
    return merges


def sentencepiece_rules(*, add_space_prefix: bool) -> dict[str, Any]:
    """Normalizer, pre-tokenizer and decoder. With `add_space_prefix` every text starts as if a space stood before it,
    and a decoded text loses that space."""
    write_spaces: dict[str, Any] = {"type": "Replace", "pattern": {"String": " "}, "content": SPACE}
    read_spaces = {"type": "Replace", "pattern": {"String": SPACE}, "content": " "}
    decoders: list[dict[str, Any]] = [read_spaces, {"type": "ByteFallback"}, {"type": "Fuse"}]
    if add_space_prefix:
        prepend = {"type": "Prepend", "prepend": SPACE}
        write_spaces = {"type": "Sequence", "normalizers": [prepend, write_spaces]}
        decoders.append({"type": "Strip", "content": " ", "start": 1, "stop": 0})
    return {
        "normalizer": write_spaces,
        "pre_tokenizer": None,
        "decoder": {"type": "Sequence", "decoders": decoders},
    }
