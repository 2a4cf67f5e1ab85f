"""Recall tasks for cores: sequences made from a seed, with the places where the answer is known.

`mqar` (multi-query associative recall, arXiv 2312.04927): pairs of key and value, maybe filler between them, then
queries; at a query's place the model must name its value. `passkey`: one pair of a marked key somewhere in a long text
of filler, asked at the end. Every draw uses fresh keys and values, so nothing can be learnt by heart.
Token ids: 0 pad, 1 the marker, keys and values each a range of `symbols` ids, then the fillers.
Shapes: B sequences, T tokens.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

MARKER, FIRST = 1, 2


@dataclass(frozen=True, slots=True)
class Batch:
    """token_ids [B, T]; targets [B, T]: the token to name at this place, -100 where none is asked."""

    token_ids: torch.Tensor
    targets: torch.Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Vocabulary:
    """`symbols` keys, as many values; `fillers` kinds of filler, few, as in text that says little."""

    symbols: int = 512
    fillers: int = 8

    @property
    def size(self) -> int:
        return FIRST + 2 * self.symbols + self.fillers

    def keys(self, order: torch.Tensor) -> torch.Tensor:
        return FIRST + order

    def values(self, order: torch.Tensor) -> torch.Tensor:
        return FIRST + self.symbols + order

    def filler(self, shape: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
        return FIRST + 2 * self.symbols + torch.randint(self.fillers, shape, generator=generator)

    def cycle(self, batch: int, num_tokens: int, generator: torch.Generator) -> torch.Tensor:
        """[batch, num_tokens]: the fillers in turn, over and over; after one round nothing of it is new."""
        place = torch.randint(self.fillers, (batch, 1), generator=generator) + torch.arange(num_tokens)
        return FIRST + 2 * self.symbols + place % self.fillers


@dataclass(frozen=True, slots=True, kw_only=True)
class MqarShape:
    """pairs: stored; queries: asked of them, at the end. filler: tokens of filler for each pair, in runs of random
    length between the pairs."""

    pairs: int
    queries: int
    filler: int = 0

    @property
    def num_tokens(self) -> int:
        return self.pairs * (2 + self.filler) + self.queries


def mqar(vocabulary: Vocabulary, shape: MqarShape, batch: int, generator: torch.Generator) -> Batch:
    """Keys differ within a sequence; values may repeat."""
    order = torch.rand(batch, vocabulary.symbols, generator=generator).argsort(1)[:, : shape.pairs]
    keys = vocabulary.keys(order)
    values = vocabulary.values(torch.randint(vocabulary.symbols, (batch, shape.pairs), generator=generator))
    stored = torch.stack([keys, values], -1).flatten(1)
    if shape.filler:
        stored = _scattered(stored, vocabulary.cycle(batch, shape.pairs * shape.filler, generator), generator)
    asked = torch.rand(batch, shape.pairs, generator=generator).argsort(1)[:, : shape.queries]
    token_ids = torch.cat([stored, keys.gather(1, asked)], 1)
    nothing = torch.full_like(stored, -100)
    return Batch(token_ids, torch.cat([nothing, values.gather(1, asked)], 1))


def _scattered(pairs_B2P: torch.Tensor, filler_BF: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Both in their own order, the pairs whole, at places that a shuffle of pairs and fillers gives them."""
    batch, num_pairs = len(pairs_B2P), pairs_B2P.shape[1] // 2
    units = torch.rand(batch, num_pairs + filler_BF.shape[1], generator=generator).argsort(1)
    is_pair = units < num_pairs
    first = (1 + is_pair).cumsum(1) - (1 + is_pair)  # the place of each unit's first token
    stored = torch.empty(batch, pairs_B2P.shape[1] + filler_BF.shape[1], dtype=pairs_B2P.dtype)
    keys_at = first[is_pair].reshape(batch, num_pairs)
    stored.scatter_(1, keys_at, pairs_B2P[:, ::2])
    stored.scatter_(1, keys_at + 1, pairs_B2P[:, 1::2])
    return stored.scatter_(1, first[~is_pair].reshape(batch, -1), filler_BF)


def passkey(vocabulary: Vocabulary, num_tokens: int, digits: int, batch: int, generator: torch.Generator) -> Batch:
    """Filler with one needle, (marker, key, `digits` values); at the end the marker and the key, then the values.

    Every value of the answer is asked for, the ones before it given, as when it is spoken token by token.
    """
    key = vocabulary.keys(torch.randint(vocabulary.symbols, (batch, 1), generator=generator))
    values = vocabulary.values(torch.randint(vocabulary.symbols, (batch, digits), generator=generator))
    marker = torch.full((batch, 1), MARKER)
    needle = torch.cat([marker, key, values], 1)
    token_ids = vocabulary.filler((batch, num_tokens), generator)
    start = num_tokens - needle.shape[1]
    token_ids[:, start:] = needle
    latest = start - needle.shape[1]
    places = torch.randint(latest + 1, (batch, 1), generator=generator) + torch.arange(needle.shape[1])
    token_ids.scatter_(1, places, needle)
    targets = torch.full_like(token_ids, -100)
    targets[:, -digits - 1 : -1] = values
    return Batch(token_ids, targets)
