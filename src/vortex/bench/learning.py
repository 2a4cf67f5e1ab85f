"""`vortex bench learn`: what a correction changes, at once and in the weights, and what it must not change.

20 invented facts with two paraphrases each, an invented and a real neighbour of every one, 100 ordinary questions. At
once: lessons found by retrieval stand before the question. Answers are greedy. The bars are printed beside the figures.
Nothing is trained here; for the same facts in the weights see learning_weights.py.
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
    """ask: the base alone. at_once: with lessons offered. offered: the lesson that a question gets, or None."""

    model_name: str
    facts: Sequence[TaughtFact]
    ordinary: Sequence[str]
    ask: Ask
    at_once: Ask
    offered: Callable[[str], str | None]

    def check(self) -> None:
        """The base must not know the facts."""
        known = sum(map(TaughtFact.answered_by, self.facts, self.ask([fact.question for fact in self.facts])))
        if known > 1:
            raise CheckFailed(
                f"{self.model_name} answers {known} of {len(self.facts)} invented facts before any lesson"
            )

    def measure(self) -> Report:
        figures: dict[str, Any] = {"model": self.model_name, "facts": len(self.facts), "ordinary": len(self.ordinary)}
        once = self._at_once()
        figures |= {f"at_once_{name}": value for name, value in once.items()}
        title = f"{self.model_name}: {len(self.facts)} corrections at once"
        return Report("learn", title, ["what", "found", "bar"], self._rows(once), figures)

    def _at_once(self) -> dict[str, int]:
        near = [question for fact in self.facts for question in (fact.invented, fact.real)]
        return answered(self.facts, self.at_once) | {
            "near": sum(self.offered(question) is not None for question in near),
            "near_invented": sum(self.offered(fact.invented) is not None for fact in self.facts),
            "ordinary": sum(self.offered(question) is not None for question in self.ordinary),
        }

    def _rows(self, found: dict[str, int]) -> list[list[str]]:
        count = len(self.facts)
        sizes = {"taught": count, "paraphrases": 2 * count, "near": 2 * count, "near_invented": count}
        sizes |= {"ordinary": len(self.ordinary)}
        sign = {"taught": "at least", "paraphrases": "at least"}
        bars = {name: f"{sign.get(name, 'at most')} {bar}" for name, bar in BARS_AT_ONCE.items()}
        return [[name, f"{value} of {sizes[name]}", bars.get(name, "told")] for name, value in found.items()]


def answered(facts: Sequence[TaughtFact], ask: Ask) -> dict[str, int]:
    """How many taught questions and paraphrases are answered."""
    said = ask([fact.question for fact in facts])
    pairs = [(fact, text) for fact in facts for text in fact.paraphrases]
    phrased = ask([text for _, text in pairs])
    return {
        "taught": sum(map(TaughtFact.answered_by, facts, said)),
        "paraphrases": sum(fact.answered_by(text) for (fact, _), text in zip(pairs, phrased, strict=True)),
    }


def leaks(facts: Sequence[TaughtFact], ask: Ask) -> dict[str, int]:
    """How many real and invented neighbours get the taught answer."""
    real, invented = ask([fact.real for fact in facts]), ask([fact.invented for fact in facts])
    return {
        "real": sum(map(TaughtFact.answered_by, facts, real)),
        "invented": sum(map(TaughtFact.answered_by, facts, invented)),
    }
