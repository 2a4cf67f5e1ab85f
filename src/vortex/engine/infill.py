"""A prompt with a gap: what stands before and after it, in the marks of models that were trained to fill it.

Knows three families of marks by their spelling; a model has one of them where its tokenizer knows all three marks as
single tokens. Does not do: models that write the marks as plain text.
"""

from __future__ import annotations

from collections.abc import Sequence

from vortex.protocols import Tokenizer

# before, after, and where the middle begins, in the order they are written
MARKS = (
    ("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"),  # Qwen
    ("<fim_prefix>", "<fim_suffix>", "<fim_middle>"),  # StarCoder, Granite
    ("<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>"),  # DeepSeek
)


def infill_ids(tokenizer: Tokenizer, before: str, after: str) -> list[int] | None:
    """The prompt after which the model writes what is missing; None for a model that has no marks for it."""
    for marks in MARKS:
        found = [tokenizer.encode(mark, special=True) for mark in marks]
        if all(len(ids) == 1 for ids in found):
            return _joined(tokenizer, [ids[0] for ids in found], before, after)
    return None


def _joined(tokenizer: Tokenizer, marks: Sequence[int], before: str, after: str) -> list[int]:
    return [marks[0], *tokenizer.encode(before), marks[1], *tokenizer.encode(after), marks[2]]
