"""The tokenizers Vortex-Tok is measured beside, trained on the same documents in the same run.

BPE: Hugging Face's byte-level BPE with its own splitting rule. tiktoken: the same merges in tiktoken's encoder (its
tokens are the same; its speed is its own). SuperBPE: the published recipe (arXiv 2503.13423) on stock parts: BPE inside
words up to a share of the vocabulary, then merges across the words of a line.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

SUPERBPE_SHARE = 0.8  # of the vocabulary learnt inside words
LINES = r"\n+[^\n]*|[^\n]+"
_PLANE = 0x20000  # ids of the first stage become characters from here on


@dataclass(frozen=True, slots=True)
class Contender:
    """encode: bytes to ids. decode: ids to bytes; text tokenizers lose broken UTF-8."""

    name: str
    vocab_size: int
    encode: Callable[[bytes], Sequence[int] | np.ndarray]
    decode: Callable[[Any], bytes]

    def count(self, documents: Sequence[bytes]) -> int:
        return sum(len(self.encode(document)) for document in documents)


def train_bpe(documents: Sequence[bytes], vocab_size: int) -> Any:
    """A `tokenizers.Tokenizer`."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    made.train_from_iterator(map(_text, documents), trainer)
    return made


def train_superbpe(documents: Sequence[bytes], vocab_size: int, share: float = SUPERBPE_SHARE) -> Any:
    """Stage two learns on stage one's ids, written as characters, and is spelled back into bytes."""
    import re

    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

    words = train_bpe(documents, int(vocab_size * share))
    state = json.loads(words.to_str())["model"]
    spelled: dict[int, str] = {number: piece for piece, number in state["vocab"].items()}
    lines = (
        "".join(chr(_PLANE + number) for number in words.encode(line).ids)
        for document in documents
        for line in re.findall(LINES, _text(document))
    )
    second = Tokenizer(models.BPE())
    alphabet = [chr(_PLANE + number) for number in spelled]
    second.train_from_iterator(
        lines, trainers.BpeTrainer(vocab_size=vocab_size, initial_alphabet=alphabet, show_progress=False)
    )
    vocab = dict(state["vocab"])
    merges = [tuple(merge) for merge in state["merges"]]
    for left, right in json.loads(second.to_str())["model"]["merges"]:
        pair = tuple("".join(spelled[ord(char) - _PLANE] for char in side) for side in (left, right))
        if "".join(pair) not in vocab:
            vocab["".join(pair)] = len(vocab)
        merges.append(pair)
    made = Tokenizer(models.BPE(vocab=vocab, merges=merges))
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(LINES), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    made.decoder = decoders.ByteLevel()
    return made


def contender_of(name: str, tokenizer: Any) -> Contender:
    """A Hugging Face tokenizer as bytes in, bytes out."""
    return Contender(
        name,
        tokenizer.get_vocab_size(),
        lambda data: tokenizer.encode(_text(data), add_special_tokens=False).ids,
        lambda ids: tokenizer.decode(ids, skip_special_tokens=False).encode(),
    )


def tiktoken_of(bpe: Any) -> Contender | None:
    """The same merges in tiktoken, or None where it is not installed."""
    if importlib.util.find_spec("tiktoken") is None:
        return None
    import tiktoken
    from tokenizers import pre_tokenizers

    bytes_of = _byte_alphabet(pre_tokenizers.ByteLevel.alphabet())
    ranks = {bytes(bytes_of[char] for char in piece): number for piece, number in bpe.get_vocab().items()}
    split = r"""'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"""
    made = tiktoken.Encoding("bench", pat_str=split, mergeable_ranks=ranks, special_tokens={})
    return Contender("tiktoken", len(ranks), lambda data: made.encode_ordinary(_text(data)), made.decode_bytes)


def _byte_alphabet(alphabet: Sequence[str]) -> dict[str, int]:
    """The characters that byte-level BPE writes bytes as: printable Latin-1 is itself, the rest counts from U+0100."""
    others = sorted(char for char in alphabet if ord(char) >= 0x100)
    own = {ord(char) for char in alphabet if ord(char) < 0x100}
    missing = [value for value in range(256) if value not in own]
    return {chr(value): value for value in own} | dict(zip(others, missing, strict=True))


def _text(data: bytes) -> str:
    return data.decode("utf-8", errors="replace")
