"""`vortex bench learn`: what a correction changes, at once and in the weights, and what it must not change.

20 invented facts with two paraphrases each, an invented and a real neighbour of every one, 100 ordinary questions. At
once: lessons found by retrieval stand before the question. In the weights: the same questions to a trained candidate,
lessons off. Answers are greedy. The bars are printed beside the figures. Does not train: the candidate is handed in.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

from vortex.bench.measurement import CheckFailed
from vortex.bench.report import Report

BARS_AT_ONCE = {"taught": 19, "paraphrases": 34, "near": 4, "ordinary": 0}
BARS_IN_WEIGHTS = {"taught": 18, "paraphrases": 30, "real": 2}
Ask = Callable[[Sequence[str]], list[str]]
"""Questions to answers, in order."""


@dataclass(frozen=True, slots=True)
class TaughtFact:
    question: str
    statement: str
    expects: str
    paraphrases: tuple[str, str]
    invented: str
    real: str

    def answered_by(self, text: str) -> bool:
        return bool(re.search(self.expects, text, re.IGNORECASE))


def taught_facts(limit: int = 20) -> list[TaughtFact]:
    text = (resources.files("vortex.bench") / "data" / "taught_facts.json").read_text(encoding="utf-8")
    return [TaughtFact(**{**one, "paraphrases": tuple(one["paraphrases"])}) for one in json.loads(text)][:limit]


def ordinary_questions(limit: int = 100) -> list[str]:
    text = (resources.files("vortex.bench") / "data" / "ordinary_questions.txt").read_text(encoding="utf-8")
    return [line.strip() for line in text.splitlines() if line.strip()][:limit]


@dataclass(frozen=True, slots=True)
class LearningMeasurement:
    """ask: the base alone. at_once: with lessons offered. offered: the lesson that a question gets, or None.

    trained: a candidate's weights, lessons off; None: none was trained. gates: (name, value) of that candidate.
    """

    model_name: str
    facts: Sequence[TaughtFact]
    ordinary: Sequence[str]
    ask: Ask
    at_once: Ask
    offered: Callable[[str], str | None]
    trained: Ask | None = None
    gates: Sequence[tuple[str, float | None]] = ()

    def check(self) -> None:
        """The base must not know the facts."""
        known = sum(map(TaughtFact.answered_by, self.facts, self.ask([fact.question for fact in self.facts])))
        if known > 1:
            raise CheckFailed(
                f"{self.model_name} answers {known} of {len(self.facts)} invented facts before any lesson"
            )

    def measure(self) -> Report:
        rows, figures = [], {"model": self.model_name, "facts": len(self.facts), "ordinary": len(self.ordinary)}
        once = self._at_once()
        figures |= {f"at_once_{name}": value for name, value in once.items()}
        rows += self._rows("at once", once, BARS_AT_ONCE)
        if self.trained is not None:
            weights = self._answered(self.trained) | self._leaks(self.trained)
            figures |= {f"weights_{name}": value for name, value in weights.items()}
            figures |= {f"gate_{name}": value for name, value in self.gates}
            rows += self._rows("weights", weights, BARS_IN_WEIGHTS)
            rows += [
                ["weights", name, "-" if value is None else f"{value:.4g}", "see docs/learning.md"]
                for name, value in self.gates
            ]
        title = f"{self.model_name}: {len(self.facts)} corrections, at once and in the weights"
        return Report("learn", title, ["how", "what", "found", "bar"], rows, figures)

    def _at_once(self) -> dict[str, Any]:
        near = [question for fact in self.facts for question in (fact.invented, fact.real)]
        invented = sum(self.offered(fact.invented) is not None for fact in self.facts)
        return self._answered(self.at_once) | {
            "near": sum(self.offered(question) is not None for question in near),
            "near_invented": invented,
            "ordinary": sum(self.offered(question) is not None for question in self.ordinary),
        }

    def _answered(self, ask: Ask) -> dict[str, Any]:
        said = ask([fact.question for fact in self.facts])
        pairs = [(fact, text) for fact in self.facts for text in fact.paraphrases]
        phrased = ask([text for _, text in pairs])
        return {
            "taught": sum(map(TaughtFact.answered_by, self.facts, said)),
            "paraphrases": sum(fact.answered_by(text) for (fact, _), text in zip(pairs, phrased, strict=True)),
        }

    def _leaks(self, ask: Ask) -> dict[str, Any]:
        real, invented = (ask([getattr(fact, kind) for fact in self.facts]) for kind in ("real", "invented"))
        return {
            "real": sum(map(TaughtFact.answered_by, self.facts, real)),
            "invented": sum(map(TaughtFact.answered_by, self.facts, invented)),
        }

    def _rows(self, how: str, found: dict[str, Any], bars: dict[str, int]) -> list[list[str]]:
        sizes = {"taught": len(self.facts), "paraphrases": 2 * len(self.facts), "near": 2 * len(self.facts)}
        sizes |= {"real": len(self.facts), "invented": len(self.facts), "near_invented": len(self.facts)}
        sizes |= {"ordinary": len(self.ordinary)}
        sign = {"taught": "at least", "paraphrases": "at least"}
        return [
            [
                how,
                name,
                f"{value} of {sizes[name]}",
                f"{sign.get(name, 'at most')} {bars[name]}" if name in bars else "told",
            ]
            for name, value in found.items()
        ]
