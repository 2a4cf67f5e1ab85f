"""A model's fp32 distributions on a fixed prompt, small enough to ship: `vortex doctor --deep` compares with them.

Each position keeps its likeliest tokens and lumps the rest together; the divergence computed from that is a lower bound
of the true one, and enough to notice a wrong weight, a wrong position or a miscompiled kernel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np

from vortex.bench.fidelity import Logits, log_softmax
from vortex.records.atomic import atomic_write

PROMPT_TOKENS = 48
KEPT = 64
PROMPT = (
    "The capital of France is Paris, and the capital of Italy is Rome. Water boils at one hundred degrees. "
    "def add(first, second): return first + second. Two plus two is four, and the days of the week are Monday, Tuesday,"
)


@dataclass(frozen=True, slots=True)
class StoredReference:
    """token_ids: [P]. top_ids: [P, K] int32. top_logprobs: [P, K] float32, natural logarithms."""

    token_ids: np.ndarray
    top_ids: np.ndarray
    top_logprobs: np.ndarray

    def save(self, path: Path) -> None:
        with atomic_write(path) as file:
            np.savez_compressed(file, token_ids=self.token_ids, top_ids=self.top_ids, top_logprobs=self.top_logprobs)

    def compare(self, logits: np.ndarray) -> tuple[float, float]:
        """Mean KL divergence in nats (a lower bound) and share of equal top tokens. logits: [P, vocab]."""
        ours = log_softmax(logits)
        mine = np.take_along_axis(ours, self.top_ids.astype(np.int64), axis=1)
        reference = self.top_logprobs.astype(np.float64)
        divergence = (np.exp(reference) * (reference - mine)).sum(axis=1)
        rest, my_rest = (np.clip(1 - np.exp(kept).sum(axis=1), 1e-9, None) for kept in (reference, mine))
        divergence += rest * np.log(rest / my_rest)
        return float(divergence.mean()), float((ours.argmax(axis=1) == self.top_ids[:, 0]).mean())


def make_reference(token_ids: Sequence[int], logits: Logits) -> StoredReference:
    """Keep the likeliest tokens of every position."""
    logprobs = log_softmax(logits(token_ids))
    top_ids = np.argsort(-logprobs, axis=1, kind="stable")[:, :KEPT]
    kept = np.take_along_axis(logprobs, top_ids, axis=1)
    return StoredReference(np.asarray(token_ids, np.int32), top_ids.astype(np.int32), kept.astype(np.float32))


def shipped_reference(model_name: str) -> StoredReference | None:
    """The reference that comes with the package, if this model has one."""
    file = resources.files("vortex.bench") / "data" / f"{model_name}.reference.npz"
    if not file.is_file():
        return None
    with resources.as_file(file) as path, np.load(path, allow_pickle=False) as stored:
        return StoredReference(stored["token_ids"], stored["top_ids"], stored["top_logprobs"])
