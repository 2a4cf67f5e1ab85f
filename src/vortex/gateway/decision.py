"""The decision: a pure function from evidence and policy to a mode and a reason.

    exempt? ──yes──▶ FLUIDO
      │no
    rules: score against the threshold in force          strategy `rules` ends here
      │ score inside the band, strategy `entropy`
    entropy of the first tokens against its threshold    none to be had ──▶ FLUIDO

The thresholds in force are the settings' plus the controller's offset, leaned towards the conversation's last mode.
Everything it reads is in `Evidence` and `DecisionSettings`, both written to the ledger: replaying gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from vortex.gateway.entropy import statistic
from vortex.gateway.settings import DecisionSettings


class Mode(StrEnum):
    FLUIDO = "FLUIDO"
    ANALITICO = "ANALITICO"


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What is known of a request. `entropies` None: not asked or not answered; `exempt` names why hands are off."""

    exempt: str = ""
    rule_score: float = 0.0
    signs: tuple[str, ...] = ()
    prompt_tokens: int = 0
    prior_mode: str = ""
    threshold_offset: float = 0.0
    entropies: tuple[float, ...] | None = None
    probe_failed: str = ""


@dataclass(frozen=True, slots=True)
class Decision:
    """`score` was compared with `threshold`, both of what `reason` names."""

    mode: Mode
    reason: str
    score: float
    threshold: float


def threshold_in_force(base: float, evidence: Evidence, policy: DecisionSettings) -> float:
    lean = {"ANALITICO": -policy.sticky_margin, "FLUIDO": policy.sticky_margin}.get(evidence.prior_mode, 0.0)
    return round(min(max(base + evidence.threshold_offset + lean, 0.0), 1.0), 6)


def wants_entropy(evidence: Evidence, policy: DecisionSettings) -> bool:
    """Whether rules leave the request unsure and the strategy asks the engine."""
    if policy.mode == "passthrough" or policy.strategy != "entropy" or evidence.exempt:
        return False
    return policy.band_low <= evidence.rule_score < policy.band_high


def decide(evidence: Evidence, policy: DecisionSettings) -> Decision:
    if policy.mode == "passthrough":
        return Decision(Mode.FLUIDO, "passthrough", 0.0, 0.0)
    if evidence.exempt:
        return Decision(Mode.FLUIDO, f"exempt:{evidence.exempt}", 0.0, 0.0)
    if wants_entropy(evidence, policy):
        return _by_entropy(evidence, policy)
    threshold = threshold_in_force(policy.rule_threshold, evidence, policy)
    mode = Mode.ANALITICO if evidence.rule_score >= threshold else Mode.FLUIDO
    return Decision(mode, f"rules:{_join(evidence.signs)}", evidence.rule_score, threshold)


def _by_entropy(evidence: Evidence, policy: DecisionSettings) -> Decision:
    threshold = threshold_in_force(policy.entropy_threshold, evidence, policy)
    if not evidence.entropies:
        return Decision(Mode.FLUIDO, f"probe_failed:{evidence.probe_failed or 'no_logprobs'}", 0.0, threshold)
    value = statistic(policy.statistic, evidence.entropies[: policy.hold_tokens])
    mode = Mode.ANALITICO if value >= threshold else Mode.FLUIDO
    return Decision(mode, f"entropy:{policy.statistic}", value, threshold)


def _join(signs: Sequence[str]) -> str:
    return "+".join(signs) or "none"
