"""Questions whose answers can be checked: the default of a parameter, as a signature in the documentation says it.

Only defaults that nobody guesses: numbers beyond -1, 0, 1 and 2, and words. The sentence that holds the answer is the
signature's line.
"""

from __future__ import annotations

import ast
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass

from vortex.bench.knowledge.corpus import SEED, Section

_GUESSABLE = {"-1", "0", "1", "2", "0.0", "1.0", "utf-8", "main", "K", "C", "raise"}


@dataclass(frozen=True, slots=True)
class Fact:
    """`value`: what a right answer contains."""

    question: str
    package: str
    parameter: str
    value: str


def facts(sections: Sequence[Section], count: int) -> list[Fact]:
    """Drawn by a fixed seed, one a function, the packages in turn."""
    by_package: dict[str, list[Fact]] = {}
    for section in sections:
        found = _of(section)
        if found is not None:
            by_package.setdefault(section.package, []).append(found)
    for able in by_package.values():
        random.Random(SEED).shuffle(able)
    chosen: list[Fact] = []
    while len(chosen) < count and any(by_package.values()):
        for able in by_package.values():
            if able and len(chosen) < count:
                chosen.append(able.pop())
    return chosen


def holds(text: str, value: str) -> bool:
    """Whether the value stands in the text as a word of its own, however numbers are written."""
    if re.search(rf"(?<![\w.]){re.escape(value)}(?![\w]|\.\d)", text, re.IGNORECASE):
        return True
    try:
        number = float(value)
    except ValueError:
        return False
    return any(float(found) == number for found in re.findall(r"-?\d+(?:\.\d+)?(?:e-?\d+)?", text.replace(",", "")))


def _of(section: Section) -> Fact | None:
    if not section.signature.startswith("def "):
        return None
    arguments = ast.parse(section.signature + ": ...").body[0]
    assert isinstance(arguments, ast.FunctionDef), "a signature is a function"
    every = arguments.args
    positional = [*every.posonlyargs, *every.args]
    named = [*zip(positional[len(positional) - len(every.defaults) :], every.defaults, strict=True)]
    named += [(one, default) for one, default in zip(every.kwonlyargs, every.kw_defaults, strict=True) if default]
    for parameter, default in named:
        value = _telling(default)
        if value is not None:
            question = f"What is the default value of the parameter `{parameter.arg}` of `{section.name}`?"
            return Fact(question, section.package, parameter.arg, value)
    return None


def _telling(default: ast.expr) -> str | None:
    if not isinstance(default, ast.Constant) or isinstance(default.value, bool | bytes | None):
        return None
    value = str(default.value)
    return None if value in _GUESSABLE or len(value) < 2 or " " in value else value
