"""What the trials say: how well each signal tells which requests gain from ANALITICO, and thresholds fitted to them.

Thresholds are chosen on one half of the trials and reported on the other. A policy is judged by accuracy and tokens,
beside always, never, the rules and an oracle that knows both outcomes. Says plainly when the engine's two modes cannot
be told apart: then no threshold means anything.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from vortex.gateway.decision import Evidence, Mode, decide
from vortex.gateway.entropy import statistic
from vortex.gateway.settings import DecisionSettings
from vortex.gateway.study.trial import Trial

Chooses = Callable[[Trial], bool]  # True: ANALITICO
SIGNIFICANT = 0.05
DEFAULT_TOKEN_PRICE = 0.1  # accuracy that 1000 tokens per request are worth


@dataclass(frozen=True, slots=True)
class Scored:
    """One policy on the reported half."""

    name: str
    accuracy: float
    tokens: float  # mean per request
    share_analytic: float


@dataclass(frozen=True, slots=True)
class Kind:
    """How one kind of task went in both modes: shares of right answers, mean tokens."""

    name: str
    tasks: int
    fluido: Scored
    analitico: Scored


@dataclass(frozen=True, slots=True)
class Calibration:
    """auroc: signal to area under the ROC curve for "ANALITICO would turn a wrong answer right" (None: undefined)."""

    trials: int
    policies: tuple[Scored, ...]
    kinds: tuple[Kind, ...]
    auroc: dict[str, float | None]
    fitted: DecisionSettings
    p_value: float

    @property
    def modes_differ(self) -> bool:
        return self.p_value < SIGNIFICANT


def calibrate(trials: Sequence[Trial], base: DecisionSettings, token_price: float = DEFAULT_TOKEN_PRICE) -> Calibration:
    fit, report = trials[::2], trials[1::2]
    rules_policy = replace(base, strategy="rules")
    fitted_rules = best(fit, rules_candidates(base), token_price)
    first = replace(base, strategy="entropy", statistic="first", hold_tokens=1, band_low=0.0, band_high=1.01)
    fitted_first = best(fit, threshold_candidates(first), token_price)
    window = [replace(first, statistic=name, hold_tokens=tokens) for name in ("mean", "max") for tokens in (4, 8)]
    fitted_window = best(fit, [c for policy in window for c in threshold_candidates(policy)], token_price)
    combined = best(fit, combined_candidates(fitted_rules, fitted_window), token_price)
    choosers: dict[str, Chooses] = {
        "never (FLUIDO)": lambda trial: False,
        "always (ANALITICO)": lambda trial: True,
        "rules, as set": chooser(rules_policy),
        "entropy, as set": chooser(replace(base, strategy="entropy")),
        "rules, fitted": chooser(fitted_rules),
        "one-token entropy at 0.6": chooser(replace(first, entropy_threshold=0.6)),
        "one-token entropy, fitted": chooser(fitted_first),
        "trajectory entropy, fitted": chooser(fitted_window),
        "combined, fitted": chooser(combined),
        "oracle": lambda trial: trial.right_analitico and not trial.right_fluido,
    }
    return Calibration(
        trials=len(trials),
        policies=tuple(scored(name, report, chooses) for name, chooses in choosers.items()),
        kinds=by_kind(trials),
        auroc=aurocs(report),
        fitted=max((fitted_rules, combined), key=lambda policy: value(fit, chooser(policy), token_price)),
        p_value=sign_test(trials),
    )


def chooser(policy: DecisionSettings) -> Chooses:
    """A policy as a yes or no per trial, by the very function that decides in service."""

    def chooses(trial: Trial) -> bool:
        entropies = trial.entropies[: policy.hold_tokens] or None
        evidence = Evidence(rule_score=trial.rule_score, entropies=entropies)
        return decide(evidence, policy).mode is Mode.ANALITICO

    return chooses


def scored(name: str, trials: Sequence[Trial], chooses: Chooses) -> Scored:
    picks = [chooses(trial) for trial in trials]
    right = [t.right_analitico if pick else t.right_fluido for t, pick in zip(trials, picks, strict=True)]
    tokens = [t.tokens_analitico if pick else t.tokens_fluido for t, pick in zip(trials, picks, strict=True)]
    count = max(len(trials), 1)
    return Scored(name, sum(right) / count, sum(tokens) / count, sum(picks) / count)


def by_kind(trials: Sequence[Trial]) -> tuple[Kind, ...]:
    """Of all trials, in the order in which the kinds appear."""
    groups: dict[str, list[Trial]] = {}
    for trial in trials:
        groups.setdefault(trial.task.kind, []).append(trial)
    return tuple(
        Kind(
            name,
            len(group),
            scored(Mode.FLUIDO.value, group, lambda trial: False),
            scored(Mode.ANALITICO.value, group, lambda trial: True),
        )
        for name, group in groups.items()
    )


def value(trials: Sequence[Trial], chooses: Chooses, token_price: float) -> float:
    """Accuracy less what its tokens cost."""
    result = scored("", trials, chooses)
    return result.accuracy - token_price * result.tokens / 1000


def best(trials: Sequence[Trial], candidates: Sequence[DecisionSettings], token_price: float) -> DecisionSettings:
    """The candidate worth most; of equals the first, which is the one closest to the defaults."""
    return max(candidates, key=lambda policy: value(trials, chooser(policy), token_price))


def rules_candidates(base: DecisionSettings) -> list[DecisionSettings]:
    steps = [base.rule_threshold, *(step / 20 for step in range(1, 20)), 1.0]
    return [replace(base, strategy="rules", rule_threshold=step) for step in steps]


def threshold_candidates(policy: DecisionSettings) -> list[DecisionSettings]:
    return [replace(policy, entropy_threshold=round(step / 40, 3)) for step in range(1, 40)]


def combined_candidates(ruled: DecisionSettings, window: DecisionSettings) -> list[DecisionSettings]:
    """Rules outside a band, the trajectory inside it."""
    bands = [(low / 20, high / 20) for low in range(0, 16, 3) for high in (12, 15, 18, 21) if high > low]
    around = [window.entropy_threshold + shift / 20 for shift in range(-3, 4)]
    return [
        replace(
            window, rule_threshold=ruled.rule_threshold, band_low=low, band_high=min(high, 1.01), entropy_threshold=at
        )
        for low, high in bands
        for at in around
        if 0.0 < at < 1.0
    ]


def aurocs(trials: Sequence[Trial]) -> dict[str, float | None]:
    gains = [trial.right_analitico and not trial.right_fluido for trial in trials]
    signals: dict[str, Callable[[Trial], float]] = {
        "rules": lambda trial: trial.rule_score,
        "one-token entropy": lambda trial: statistic("first", trial.entropies),
        "mean entropy, 8 tokens": lambda trial: statistic("mean", trial.entropies[:8]),
        "max entropy, 8 tokens": lambda trial: statistic("max", trial.entropies[:8]),
        "mean entropy, 64 tokens": lambda trial: statistic("mean", trial.entropies),
        "rules + mean entropy, 8 tokens": lambda trial: trial.rule_score + statistic("mean", trial.entropies[:8]),
    }
    return {name: auroc([signal(trial) for trial in trials], gains) for name, signal in signals.items()}


def auroc(scores: Sequence[float], labels: Sequence[bool]) -> float | None:
    """Chance that a random positive scores above a random negative, ties half. None without both kinds."""
    positives = [score for score, label in zip(scores, labels, strict=True) if label]
    negatives = [score for score, label in zip(scores, labels, strict=True) if not label]
    if not positives or not negatives:
        return None
    wins = sum((p > n) + 0.5 * (p == n) for p in positives for n in negatives)
    return wins / (len(positives) * len(negatives))


def sign_test(trials: Sequence[Trial]) -> float:
    """Two-sided exact test that the modes are right equally often, over the tasks where they differ."""
    better = sum(trial.right_analitico and not trial.right_fluido for trial in trials)
    worse = sum(trial.right_fluido and not trial.right_analitico for trial in trials)
    count, extreme = better + worse, max(better, worse)
    tail = sum(math.comb(count, k) for k in range(extreme, count + 1)) / 2**count
    return min(1.0, 2 * tail)


def variables_of(policy: DecisionSettings) -> dict[str, str]:
    """The fitted policy as lines for config/.env."""
    return {
        "LKN_DECISION_STRATEGY": policy.strategy,
        "LKN_RULE_THRESHOLD": f"{policy.rule_threshold:g}",
        "LKN_ENTROPY_THRESHOLD": f"{policy.entropy_threshold:g}",
        "LKN_ENTROPY_STATISTIC": policy.statistic,
        "LKN_HOLD_TOKENS": str(policy.hold_tokens),
        "LKN_BAND_LOW": f"{policy.band_low:g}",
        "LKN_BAND_HIGH": f"{policy.band_high:g}",
    }
