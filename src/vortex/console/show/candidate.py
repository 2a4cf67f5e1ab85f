"""A candidate's report, sorted for a person: what was taught, answers before and after, gates, curves, whence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vortex.console.show.curves import Curve, curve
from vortex.console.show.gates import GateView, gate_view

KINDS = ("taught", "paraphrase", "earlier", "leak", "lost")
LONG_PARTS = frozenset({"loss", "kl", "rows"})


@dataclass(frozen=True, slots=True)
class Answers:
    """Of one kind; `right` of them were."""

    kind: str
    shown: Sequence[Mapping[str, Any]]

    @property
    def right(self) -> int:
        return sum(bool(one.get("right")) for one in self.shown)


@dataclass(frozen=True, slots=True)
class CandidateView:
    report: Mapping[str, Any]
    lessons: Sequence[Mapping[str, Any]]
    answers: Sequence[Answers]
    gates: Sequence[GateView]
    loss: Curve | None
    distance: Curve | None
    recipe: Sequence[tuple[str, str]]
    texts: Sequence[tuple[str, float, float, float]]  # name, perplexity before and after, growth
    doubts: Mapping[str, Sequence[str]]  # by a lesson's question, what the model itself finds odd: keys of our words

    @property
    def open_gates(self) -> int:
        return sum(gate.passed for gate in self.gates)


def candidate_view(report: Mapping[str, Any]) -> CandidateView:
    """Of what `vortex learn show --json` says. Parts that an older program did not write are empty."""
    recipe: Mapping[str, Any] = report.get("recipe", {})
    shown: Sequence[Mapping[str, Any]] = report.get("answers", [])
    known = [Answers(kind, [one for one in shown if one.get("kind") == kind]) for kind in KINDS]
    other = [one for one in shown if one.get("kind") not in KINDS]
    texts: Mapping[str, Any] = report.get("figures", {}).get("texts", {})
    return CandidateView(
        report=report,
        doubts={str(one["question"]): _doubts(one) for one in report.get("doubts", []) if _doubts(one)},
        lessons=[row for row in report.get("rows", []) if row.get("question")],
        answers=[group for group in [*known, Answers("other", other)] if group.shown],
        gates=[gate_view(gate) for gate in report.get("gates", [])],
        loss=curve(_points(recipe.get("loss"))),
        distance=curve(_points(recipe.get("kl"))),
        recipe=[(name, str(value)) for name, value in recipe.items() if name not in LONG_PARTS],
        texts=[
            (name, float(one["before"]), float(one["after"]), float(one["growth"]))
            for name, one in texts.items()
            if {"before", "after", "growth"} <= one.keys()
        ],
    )


def _doubts(one: Mapping[str, Any]) -> list[str]:
    told = {"the model finds it unlikely": "doubt_unlikely", "the model is sure of another answer": "doubt_sure"}
    return [told[reason] for reason in one.get("reasons", []) if reason in told]


def _points(found: object) -> list[tuple[float, float]]:
    if not isinstance(found, list):
        return []
    return [(float(pair[0]), float(pair[1])) for pair in found if isinstance(pair, list) and len(pair) == 2]
