"""`vortex bench fidelity`: how far a model's distributions are from a reference, teacher-forced over real text.

The text ships with the package (`data/`). It is cut into windows of fixed length; every token of a window is predicted
from the ones before it. Against an fp32 reference: mean KL divergence in nats, top-1 agreement, perplexity of both.
Against llama.cpp: the same, so that its own rounding can be compared with ours.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Protocol

import numpy as np

from vortex.bench.measurement import CheckFailed
from vortex.bench.peer import Peer
from vortex.bench.report import Report
from vortex.protocols import LanguageModel, Tokenizer
from vortex.types import Span, Want

TEXT = "origin_of_species_8.txt"
BLOCK_ROWS = 64
PEER_CONTEXT = 1024  # a longer window is refused by the command

Logits = Callable[[Sequence[int]], np.ndarray]
"""Token ids of a window to float32 logits [tokens, vocab]."""


class Reference(Protocol):
    @property
    def name(self) -> str: ...

    def logits(self, token_ids: Sequence[int]) -> np.ndarray:
        """float32 [tokens, vocab]: after each token of a window, computed alone."""
        ...


class PeerReference:
    """A peer program as the reference."""

    def __init__(self, peer: Peer, model_file: Path, threads: int) -> None:
        self._peer = peer
        self.name = f"{peer.name} {peer.version}"
        load_for_scoring(peer, model_file, threads)

    def logits(self, token_ids: Sequence[int]) -> np.ndarray:
        return peer_logits(self._peer, token_ids)


@dataclass(slots=True)
class Sums:
    """Totals over positions. `nll`: negative log-likelihood of the true next token, in nats."""

    positions: int = 0
    nll: float = 0.0
    reference_nll: float = 0.0
    divergence: float = 0.0
    agreements: int = 0

    def add(self, logits: np.ndarray, reference: np.ndarray, targets: np.ndarray) -> None:
        """logits, reference: [positions, vocab]; targets: [positions] true next ids."""
        for start in range(0, len(targets), BLOCK_ROWS):  # float64 of a whole window would not fit small machines
            rows = slice(start, start + BLOCK_ROWS)
            ours, theirs = log_softmax(logits[rows]), log_softmax(reference[rows])
            row = np.arange(len(ours))
            self.positions += len(ours)
            self.nll -= float(ours[row, targets[rows]].sum())
            self.reference_nll -= float(theirs[row, targets[rows]].sum())
            self.divergence += float((np.exp(theirs) * (theirs - ours)).sum())
            self.agreements += int((ours.argmax(1) == theirs.argmax(1)).sum())

    def figures(self) -> dict[str, float]:
        return {
            "positions": self.positions,
            "mean_kl_nats": self.divergence / self.positions,
            "top1_agreement": self.agreements / self.positions,
            "perplexity": float(np.exp(self.nll / self.positions)),
            "reference_perplexity": float(np.exp(self.reference_nll / self.positions)),
        }


@dataclass(frozen=True, slots=True)
class FidelityMeasurement:
    """windows: token ids, each scored alone. reference: fp32 logits. peer: scored against the reference as well."""

    model_name: str
    model: LanguageModel
    windows: Sequence[Sequence[int]]
    reference: Logits
    reference_name: str
    peer: Peer | None = None
    model_file: Path | None = None
    threads: int = 1

    def check(self) -> None:
        """The windows must be long enough to mean something, and the model and its reference must agree on size."""
        if not self.windows:
            raise CheckFailed("no text to score")
        vocab = self.reference(self.windows[0][:4]).shape[1]
        if vocab < self.model.vocab_size:
            raise CheckFailed(f"{self.reference_name} has {vocab} tokens, {self.model_name} {self.model.vocab_size}")

    def measure(self) -> Report:
        candidates: dict[str, Logits] = {f"vortex {self.model_name}": lambda ids: window_logits(self.model, ids)}
        if self.peer is not None:
            assert self.model_file is not None, "a peer needs a file to read"
            load_for_scoring(self.peer, self.model_file, self.threads)
            peer = self.peer
            candidates[f"{peer.name} {peer.version}"] = lambda ids: peer_logits(peer, ids)
        sums = {name: Sums() for name in candidates}
        for window in self.windows:
            targets = np.asarray(window[1:])
            reference = self.reference(window)[:-1, : self.model.vocab_size]
            for name, logits in candidates.items():
                sums[name].add(logits(window)[:-1, : self.model.vocab_size], reference, targets)
        return self._report({name: total.figures() for name, total in sums.items()})

    def _report(self, found: dict[str, dict[str, float]]) -> Report:
        ours = next(iter(found.values()))
        rows = [
            [name, f"{f['mean_kl_nats']:.5f}", f"{100 * f['top1_agreement']:.2f}%", f"{f['perplexity']:.3f}"]
            for name, f in found.items()
        ]
        rows.append([self.reference_name, "0", "100%", f"{ours['reference_perplexity']:.3f}"])
        figures: dict[str, object] = {"model": self.model_name, "reference": self.reference_name, **_rounded(ours)}
        figures["perplexity_ratio"] = round(ours["perplexity"] / ours["reference_perplexity"], 5)
        if self.peer is not None:
            figures["peer"] = f"{self.peer.name} {self.peer.version}"
            theirs = found[f"{self.peer.name} {self.peer.version}"]
            figures |= {f"peer_{name}": value for name, value in _rounded(theirs).items()}
            figures["perplexity_ratio_to_peer"] = round(ours["perplexity"] / theirs["perplexity"], 5)
        columns = [f"{int(ours['positions'])} tokens", "mean KL, nats", "same top token", "perplexity"]
        bars = {name: f["mean_kl_nats"] for name, f in found.items()}
        title = f"{self.model_name}: distance from {self.reference_name}"
        return Report("fidelity", title, columns, rows, figures, bars, "KL, nats")


def text_windows(tokenizer: Tokenizer, num_tokens: int, window: int) -> list[list[int]]:
    """The shipped text as windows of `window` ids that together predict at least `num_tokens` tokens.

    Each window opens as a prompt does (with the tokenizer's beginning-of-sequence id where it has one).
    """
    text = (resources.files("vortex.bench") / "data" / TEXT).read_text(encoding="utf-8")
    opening = tokenizer.encode("", add_bos=True)
    ids = tokenizer.encode(text)
    body = window - len(opening)
    predicted = body if opening else body - 1
    count = min(-(-num_tokens // predicted), len(ids) // body)
    return [[*opening, *ids[start * body : (start + 1) * body]] for start in range(count)]


def window_logits(model: LanguageModel, ids: Sequence[int]) -> np.ndarray:
    """Logits after every token of a window, swept in the model's own chunks."""
    state = model.new_state()
    rows = []
    for start in range(0, len(ids), model.prefill_chunk):
        piece = ids[start : start + model.prefill_chunk]
        rows.append(model.sweep([Span(state, piece, Want.ALL_LOGITS)]).logits)
        state.commit(len(piece))
    state.close()
    return np.concatenate(rows)


def load_for_scoring(peer: Peer, model_file: Path, threads: int) -> None:
    peer.ask("load", file=str(model_file), context=PEER_CONTEXT, threads=threads, all_logits=True)


def peer_logits(peer: Peer, ids: Sequence[int]) -> np.ndarray:
    with tempfile.TemporaryDirectory(prefix="vortex-") as folder:
        file = Path(folder) / "logits.npy"
        peer.ask("logits", tokens=list(ids), file=str(file))
        logits: np.ndarray = np.load(file, allow_pickle=False)
        return logits


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """Natural log-probabilities in float64, [rows, vocab]."""
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))


def _rounded(figures: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 6) for name, value in figures.items()}
