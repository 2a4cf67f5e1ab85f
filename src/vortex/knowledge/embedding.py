"""Texts to vectors, as this room wants it: a name that changes when the vectors would, and no text too long.

Promises unit vectors in the order of the texts; a text longer than the model reads is cut at spaces and its parts'
vectors are averaged by length. Does not open a model: it is handed in.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from vortex.errors import ContextOverflow
from vortex.knowledge.terms import query_terms

BATCH_TEXTS = 64


class Embedder(Protocol):
    @property
    def name(self) -> str:
        """Vectors of two names never meet in one index."""
        ...

    def vectors(self, texts: Sequence[str]) -> np.ndarray:
        """[texts, width] float32, each of length 1."""
        ...


class TokenEmbedder(Protocol):
    """A model for embeddings that reads a bounded number of tokens."""

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Raises ContextOverflow where one text is too long."""
        ...

    def embed(self, token_ids: Sequence[Sequence[int]]) -> np.ndarray:
        """[texts, width] float32, each of length 1."""
        ...


class PassageEmbedder:
    """An `Embedder` over a `TokenEmbedder`. Not for two threads at once."""

    def __init__(self, name: str, model: TokenEmbedder) -> None:
        self._name = name
        self._model = model

    @property
    def name(self) -> str:
        return self._name

    def vectors(self, texts: Sequence[str]) -> np.ndarray:
        token_ids: list[list[int]] = []
        owners: list[int] = []
        for index, text in enumerate(texts):
            for part in self._parts(text):
                token_ids.append(part)
                owners.append(index)
        order = sorted(range(len(token_ids)), key=lambda i: len(token_ids[i]))
        found = np.empty((len(token_ids), 0), np.float32)
        for start in range(0, len(order), BATCH_TEXTS):
            batch = order[start : start + BATCH_TEXTS]
            rows = self._model.embed([token_ids[i] for i in batch])
            if not found.shape[1]:
                found = np.empty((len(token_ids), rows.shape[1]), np.float32)
            found[batch] = rows
        return _averaged(found, owners, [len(ids) for ids in token_ids], len(texts))

    def _parts(self, text: str) -> list[list[int]]:
        try:
            return self._model.encode([text])
        except ContextOverflow:
            middle = text.rfind(" ", 1, len(text) // 2) if " " in text[1 : len(text) // 2] else len(text) // 2
            return [*self._parts(text[:middle]), *self._parts(text[middle:])]


def _averaged(rows: np.ndarray, owners: Sequence[int], lengths: Sequence[int], num_texts: int) -> np.ndarray:
    if len(rows) == num_texts:
        return rows
    sums = np.zeros((num_texts, rows.shape[1]), np.float32)
    np.add.at(sums, np.asarray(owners), rows * np.asarray(lengths, np.float32)[:, None])
    return sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-12)


class HashEmbedder:
    """An `Embedder` that needs no model, for tests and trying out: every telling term adds a direction of its own.

    Two texts are as near as the terms they share; nothing is known of meaning.
    """

    name = "hash-256"

    def vectors(self, texts: Sequence[str]) -> np.ndarray:
        rows = np.zeros((len(texts), 256), np.float32)
        for row, text in zip(rows, texts, strict=True):
            for word in query_terms(text):
                seed = int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest(), "little")
                row += np.random.default_rng(seed).standard_normal(256, np.float32)
        return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
