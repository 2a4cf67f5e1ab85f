"""`vortex bench learn --train`: what candidates answer with lessons switched off, and what the training cost the model.

One trial is one training with its own seed, with the distance to the base or without. Beside the bars stands the same
set answered at once, without any training. Does not train: finished trials are handed in, so that a table can be
written after each.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from vortex.bench.learning import Ask, TaughtFact, answered, leaks
from vortex.bench.report import Curves, Report

BARS = [">=18/20", ">=30/40", "<=2/20", "told", "<=0.1", "<=0.02", "noise", "", "<=15", ""]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """found: right answers to taught questions and paraphrases, leaks to real and invented neighbours. gates: value and
    note by name. loss, distance: by step. training_s, processor_s: of the training alone."""

    seed: int
    kl_weight: float
    steps: int
    ended: str
    training_s: float
    processor_s: float
    found: Mapping[str, int]
    gates: Mapping[str, tuple[float | None, str]]
    loss: Sequence[tuple[int, float]] = field(default_factory=tuple)
    distance: Sequence[tuple[int, float]] = field(default_factory=tuple)

    @property
    def name(self) -> str:
        return f"{'held' if self.kl_weight else 'not held'}, seed {self.seed}"


def asked(facts: Sequence[TaughtFact], ask: Ask) -> dict[str, int]:
    """The counts of one way of answering."""
    return answered(facts, ask) | leaks(facts, ask)


def report_of(
    model_name: str, facts: Sequence[TaughtFact], others: Mapping[str, Mapping[str, int]], trials: Sequence[Trial]
) -> Report:
    """others: counts of ways without training, by name (the base alone, lessons at once).

    Columns: answered taught questions and paraphrases, leaks to real and to new (invented) neighbours, distance in
    nats, growth of perplexity on the worst text, holdout questions lost and gained, minutes, processor seconds a step.
    """
    sizes = {"taught": len(facts), "paraphrases": 2 * len(facts), "real": len(facts), "invented": len(facts)}
    columns = ["how", "taught", "phrased", "real", "new", "kl", "ppl", "-/+", "steps", "min", "cpu s"]
    rows = [[name, *_counts(found, sizes), "", "", "", "", "", ""] for name, found in others.items()]
    rows += [[trial.name, *_counts(trial.found, sizes), *_cost(trial)] for trial in trials]
    rows.append(["bar", *BARS])
    figures: dict[str, Any] = {
        "model": model_name,
        "facts": len(facts),
        "without_training": {name: dict(found) for name, found in others.items()},
        "trials": [{"name": trial.name, **asdict(trial)} for trial in trials],
    }
    lines = {f"loss, {trial.name}": trial.loss for trial in trials if trial.loss}
    lines |= {f"distance, {trial.name}": trial.distance for trial in trials if trial.kl_weight and trial.distance}
    lines = {name: [(step, max(value, 1e-4)) for step, value in points] for name, points in lines.items()}
    title = f"{model_name}: {len(facts)} facts in the weights, lessons off"
    curves = Curves("step", "nats a token", lines) if lines else None
    return Report("learn --train", title, columns, rows, figures, curves=curves)


def _counts(found: Mapping[str, int], sizes: Mapping[str, int]) -> list[str]:
    return [f"{found[name]}/{size}" for name, size in sizes.items()]


def _cost(trial: Trial) -> list[str]:
    values = [trial.gates.get(name, (None, ""))[0] for name in ("kl", "perplexity")]
    shown = ["-" if value is None else f"{value:.3f}" for value in values]
    counts = re.findall(r"(\d+) (?:lost|gained)", trial.gates.get("holdout", (None, ""))[1])
    holdout = "/".join(counts) or "-"
    per_step = trial.processor_s / max(1, trial.steps)
    return [*shown, holdout, str(trial.steps), f"{trial.training_s / 60:.1f}", f"{per_step:.1f}"]
