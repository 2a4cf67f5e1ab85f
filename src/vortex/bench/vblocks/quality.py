"""`vortex bench core-quality`: bits per byte of a small core beside Transformers, on held-out text.

Equal weights without embeddings, equal tokens in equal order, each with its own sweep of learning rates; the best rate
then runs with further seeds, and the means are compared. Beside the full Transformer stands one whose window keeps as
many bytes as the core's state. What trains is handed in (`learn/quality.py`).
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from vortex.bench.measurement import CheckFailed
from vortex.bench.report import Report

NAMES = {"core": "V-Blocks core", "transformer": "Transformer", "window": "Transformer, sliding window",
         "recall": "Transformer, begun as recall"}  # fmt: skip
MAX_WEIGHTS_APART = 0.02
Trial = Callable[[str, float, int], Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class CoreQualityMeasurement:
    """train: (arch, learning rate, seed) to figures. described: weights, state_bytes, window_tokens, tokens."""

    train: Trial
    described: Mapping[str, Any]
    archs: Sequence[str]
    rates: Sequence[float]
    seeds: int
    data: str
    device: str
    say: Callable[[str], None] = field(default=lambda _: None)

    def check(self) -> None:
        """Equal state bytes within a window's token, and something to compare."""
        ours, theirs = self.described["state_bytes"], self.described["window_state_bytes"]
        if abs(ours - theirs) > theirs / self.described["window_tokens"]:
            raise CheckFailed(f"the window keeps {theirs} bytes and the core {ours}")

    def measure(self) -> Report:
        found = {arch: self._best(arch) for arch in self.archs}
        weights = {arch: trials[0]["weights"] for arch, trials in found.items()}
        if max(weights.values()) > min(weights.values()) * (1 + MAX_WEIGHTS_APART):
            raise CheckFailed(f"not of equal size: {weights}")
        means = {arch: statistics.fmean(t["bits_per_byte"] for t in trials) for arch, trials in found.items()}
        base = means.get("transformer", next(iter(means.values())))
        rows, figures = [], {**self.described, "data": self.data, "device": self.device}
        for arch, trials in found.items():
            values = [trial["bits_per_byte"] for trial in trials]
            spread = max(values) - min(values)
            rows.append(
                [NAMES[arch], f"{means[arch]:.4f}", f"{spread:.4f}", f"{means[arch] / base:.4f}",
                 f"{trials[0]['learning_rate']:g}", f"{weights[arch]:,}", f"{trials[0]['seconds']:.0f}"]
            )  # fmt: skip
            figures[arch] = {"bits_per_byte": [round(v, 5) for v in values], "mean": round(means[arch], 5),
                             "to_transformer": round(means[arch] / base, 5),
                             "learning_rate": trials[0]["learning_rate"], "seconds": trials[0]["seconds"],
                             "sweep": self._sweep(arch)}  # fmt: skip
        columns = ["bits per byte, held out", "mean", "spread", "to Transformer", "rate", "weights", "seconds"]
        title = (
            f"{self.described['tokens'] / 1e6:.1f} M tokens each of {self.data}, {self.seeds} seeds, on {self.device}"
        )
        bars = {NAMES[arch]: mean for arch, mean in means.items()}
        return Report("core-quality", title, columns, rows, figures, bars, "bits per byte, held out")

    def _best(self, arch: str) -> list[Mapping[str, Any]]:
        """Trials of the best learning rate, one per seed."""
        swept = [self._trial(arch, rate, 0) for rate in self.rates]
        best = min(swept, key=lambda trial: float(trial["bits_per_byte"]))
        others = [self._trial(arch, float(best["learning_rate"]), seed) for seed in range(1, self.seeds)]
        return [best, *others]

    def _trial(self, arch: str, rate: float, seed: int) -> Mapping[str, Any]:
        trial = self.train(arch, rate, seed)
        self.say(f"{NAMES[arch]}, rate {rate:g}, seed {seed}: {trial['bits_per_byte']:.4f} bits per byte")
        return trial

    def _sweep(self, arch: str) -> dict[str, float]:
        return {f"{rate:g}": round(float(self.train(arch, rate, 0)["bits_per_byte"]), 5) for rate in self.rates}
