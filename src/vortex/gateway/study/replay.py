"""Replay of a ledger: every decision again from its recorded evidence, byte for byte, and other policies on the same
traffic.

Promises: what is compared is the canonical JSON of the decision; the controller's recorded steps are repeated too.
Does not ask any engine: another policy is scored by what the ledger knows, the mean tokens of each mode.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import orjson

from vortex.errors import ConfigError
from vortex.gateway.controller import ControllerState, Measurement, step
from vortex.gateway.decision import Decision, Evidence, Mode, decide
from vortex.gateway.ledger import decision_bytes, read_ledger
from vortex.gateway.settings import ControllerSettings, DecisionSettings


@dataclass(frozen=True, slots=True)
class Recorded:
    """One request of a ledger: what was known, what was decided, what became of it."""

    number: int
    evidence: Evidence
    policy: DecisionSettings
    decision: bytes
    outcome: Mapping[str, Any]


@dataclass(slots=True)
class Replay:
    requests: list[Recorded] = field(default_factory=list)
    different: list[int] = field(default_factory=list)  # numbers of requests that were decided otherwise
    ticks: int = 0
    different_ticks: int = 0

    @property
    def identical(self) -> bool:
        return not self.different and not self.different_ticks


@dataclass(frozen=True, slots=True)
class PolicyScore:
    """How another policy would have treated the same requests. `tokens` is an estimate from each mode's mean."""

    name: str
    share_analytic: float
    changed: int
    tokens: float


def replay(path: Path) -> Replay:
    """Raises ConfigError for a file that is no ledger."""
    result = Replay()
    policy, controller = DecisionSettings(), ControllerSettings()
    for line in read_ledger(path):
        kind = line.get("type")
        if kind == "policy":
            policy = _rebuilt(DecisionSettings, line["policy"])
            controller = _rebuilt(ControllerSettings, line["controller"])
        elif kind == "request":
            recorded = _recorded(line, policy)
            result.requests.append(recorded)
            if decision_bytes(decide(recorded.evidence, policy)) != recorded.decision:
                result.different.append(recorded.number)
        elif kind == "tick":
            result.ticks += 1
            after = step(_rebuilt(ControllerState, line["before"]), _rebuilt(Measurement, line["seen"]), controller)
            result.different_ticks += after != _rebuilt(ControllerState, line["after"])
    return result


def compare(requests: Sequence[Recorded], policies: Mapping[str, DecisionSettings]) -> list[PolicyScore]:
    """Each policy on the same requests. Entropy that was not recorded cannot be judged: it counts as not answered."""
    means = _mean_tokens(requests)
    scores = []
    for name, policy in policies.items():
        decisions = [decide(recorded.evidence, policy) for recorded in requests]
        analytic = sum(decision.mode is Mode.ANALITICO for decision in decisions)
        before = [orjson.loads(recorded.decision)["mode"] for recorded in requests]
        scores.append(
            PolicyScore(
                name=name,
                share_analytic=analytic / max(len(decisions), 1),
                changed=sum(decision.mode.value != mode for decision, mode in zip(decisions, before, strict=True)),
                tokens=sum(means[decision.mode.value] for decision in decisions),
            )
        )
    return scores


def policies_beside(recorded: DecisionSettings, changes: Mapping[str, str]) -> dict[str, DecisionSettings]:
    """The recorded policy, the usual others, and the one asked for (`changes`: field to text)."""
    policies = {
        "recorded": recorded,
        "rules": replace(recorded, mode="homeostatic", strategy="rules"),
        "entropy": replace(recorded, mode="homeostatic", strategy="entropy"),
        "always": replace(recorded, mode="homeostatic", strategy="rules", rule_threshold=0.0, sticky_margin=0.0),
        "never": replace(recorded, mode="passthrough"),
    }
    if changes:
        policies["yours"] = replace(recorded, **_typed(recorded, changes))
    return policies


def _typed(policy: DecisionSettings, changes: Mapping[str, str]) -> dict[str, Any]:
    kinds = {known.name: type(getattr(policy, known.name)) for known in fields(DecisionSettings)}
    unknown = sorted(set(changes) - set(kinds))
    if unknown:
        raise ConfigError(f"no policy field {unknown[0]!r}: choose from {', '.join(sorted(kinds))}")
    try:
        return {name: text == "on" if kinds[name] is bool else kinds[name](text) for name, text in changes.items()}
    except ValueError as error:
        raise ConfigError(f"a policy field has a wrong value: {error}") from None


def _recorded(line: Mapping[str, Any], policy: DecisionSettings) -> Recorded:
    decision = line["decision"]
    canonical = Decision(Mode(decision["mode"]), decision["reason"], decision["score"], decision["threshold"])
    return Recorded(
        number=line["number"],
        evidence=_rebuilt(Evidence, line["evidence"]),
        policy=policy,
        decision=decision_bytes(canonical),
        outcome=line["outcome"],
    )


def _rebuilt(kind: type[Any], values: Mapping[str, Any]) -> Any:
    """A dataclass from its JSON: lists become tuples, fields of a newer version are left out."""
    names = {known.name for known in fields(kind)}
    return kind(
        **{key: tuple(value) if isinstance(value, list) else value for key, value in values.items() if key in names}
    )


def _mean_tokens(requests: Iterable[Recorded]) -> dict[str, float]:
    seen: dict[str, list[float]] = {mode.value: [] for mode in Mode}
    for recorded in requests:
        if recorded.outcome.get("result") == "ok":
            seen[orjson.loads(recorded.decision)["mode"]].append(float(recorded.outcome.get("tokens") or 0))
    return {mode: sum(values) / len(values) if values else 0.0 for mode, values in seen.items()}
