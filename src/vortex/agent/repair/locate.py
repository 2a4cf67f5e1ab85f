"""Where a fault may stand: lines by Ochiai's measure over the tests that ran them, functions by their worst line.

Ochiai: failing tests that ran the line, over the root of (failing tests times all tests that ran it). A line that only
failing tests ran has 1. (Abreu, Zoeteweij, van Gemund: "An evaluation of similarity coefficients", 2006.)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from vortex.agent.repair.judge import Observation
from vortex.agent.repair.languages.known import language_of
from vortex.agent.repair.languages.language import Function, Language
from vortex.agent.repair.naming import is_test_file

MAX_FUNCTIONS = 6


@dataclass(frozen=True, slots=True)
class Suspect:
    """A function that failing tests ran, with the suspicion of its lines."""

    path: str
    language: Language
    function: Function
    lines: dict[int, float]
    score: float
    last_met: int  # how late in the failing tests' traces it began: what was called last lies innermost


def line_scores(before: Observation, failing: Sequence[str]) -> dict[tuple[str, int], float]:
    """Every line that a failing test ran, with Ochiai's measure."""
    failed: dict[tuple[str, int], int] = {}
    passed: dict[tuple[str, int], int] = {}
    for name, test in before.tests.items():
        counts = failed if name in failing else passed if test.outcome == "passed" else {}
        for path, numbers in test.lines.items():
            for number in numbers:
                counts[(path, number)] = counts.get((path, number), 0) + 1
    total = max(len(failing), 1)
    return {place: count / math.sqrt(total * (count + passed.get(place, 0))) for place, count in failed.items()}


def suspects(before: Observation, failing: Sequence[str], read: Callable[[str], str | None]) -> list[Suspect]:
    """Most suspicious first: by the worst line, then by how late the function was first entered, innermost first."""
    scores = line_scores(before, failing)
    met: dict[tuple[str, int], int] = {}
    for name in failing:
        for path, numbers in before.tests[name].lines.items():
            for order, number in enumerate(numbers):
                met[(path, number)] = max(met.get((path, number), 0), order)
    found = []
    for path in sorted({path for path, _ in scores}):
        language = None if is_test_file(path) else language_of(path)
        text = read(path) if language else None
        if language is None or text is None:
            continue
        for function in language.functions(text):
            own = {
                number: scores[(path, number)]
                for number in range(function.first_line, function.last_line + 1)
                if (path, number) in scores
            }
            if own:
                last_met = min(met[(path, number)] for number in own)
                found.append(Suspect(path, language, function, own, max(own.values()), last_met))
    found.sort(key=lambda one: (-one.score, -one.last_met, -one.function.depth, one.path, one.function.first_line))
    return found[:MAX_FUNCTIONS]
