"""What the fake backend's answers are made of: words as tokens, limits, invented log-probabilities, hashed vectors.

Everything is a function of its arguments: the same on every machine, in every run.
"""

from __future__ import annotations

import re
import zlib
from itertools import islice

import numpy as np

from vortex.types import ChatRequest, FinishReason, TokenLogprob

EMBEDDING_WIDTH = 64
PIECES = re.compile(r" ?\w+| ?[^\w\s]|\s")


def pieces(text: str) -> list[str]:
    """Words with their leading space, signs and white space; joined they are the text again."""
    return PIECES.findall(text)


def count_pieces(text: str, most: int) -> int:
    """How many `pieces` there are; `most` where there are as many or more: the rest of the text is not looked at."""
    return sum(1 for _ in islice(PIECES.finditer(text), most))


def limited(tokens: list[str], request: ChatRequest) -> tuple[list[str], FinishReason, str | None]:
    """The tokens up to a stop string or the limit, which of the two (or the end) it was, and the stop string."""
    wanted = request.max_tokens if request.ignore_eos else request.min_tokens
    while tokens and len(tokens) < (wanted or 0):
        tokens = tokens + tokens
    text = "".join(tokens)
    ends = [(text.find(stop), stop) for stop in request.stop if stop in text]
    limit = len(tokens) if request.max_tokens is None or request.max_tokens < 0 else request.max_tokens
    if ends and len(kept := pieces(text[: min(ends)[0]])) <= limit:
        return kept, FinishReason.STOP, min(ends)[1]
    is_cut = limit < len(tokens) or request.ignore_eos
    return tokens[:limit], FinishReason.LENGTH if is_cut else FinishReason.STOP, None


def logprobs(token: str, top_logprobs: int | None) -> tuple[TokenLogprob, ...]:
    """The token at -0.5 nats; below it invented rivals, each half a nat less likely."""
    if top_logprobs is None:
        return ()
    names = [token, *(f"{token}{rank}" for rank in range(1, top_logprobs))][:top_logprobs]
    top = tuple(TokenLogprob(token_id(name), name.encode(), -0.5 * (rank + 1)) for rank, name in enumerate(names))
    return (TokenLogprob(token_id(token), token.encode(), -0.5, top),)


def token_id(token: str) -> int:
    return zlib.crc32(token.encode()) % 50_000


def embedding(text: str) -> np.ndarray:
    """[EMBEDDING_WIDTH] float32 of length 1: counts of hashed letter triples."""
    padded = f"  {text.lower()} "
    vector = np.zeros(EMBEDDING_WIDTH, dtype=np.float32)
    for start in range(len(padded) - 2):
        vector[zlib.crc32(padded[start : start + 3].encode()) % EMBEDDING_WIDTH] += 1.0
    return vector / np.linalg.norm(vector)


def common_length(first: list[str], second: list[str]) -> int:
    return next(
        (at for at, (a, b) in enumerate(zip(first, second, strict=False)) if a != b), min(len(first), len(second))
    )
