"""The rules probe: cheap signs in a prompt's text that it needs care, in English and Spanish.

Each sign that is found has a weight; the score is 1 - Π(1 - weight): one strong sign or two middling ones are
enough. Rules see the user's last turn, at most WINDOW_CHARS from either end, so a 10 MB prompt costs what a page costs.
Does not do: understand.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

WINDOW_CHARS = 2000
CHARS_PER_TOKEN = 4  # of common English; an estimate is enough for a length rule
SMALL_TALK_WORDS = 12


@dataclass(frozen=True, slots=True)
class Sign:
    name: str
    weight: float
    pattern: re.Pattern[str]
    numbers: int = 0  # how many numbers the text must hold too


def _sign(name: str, weight: float, pattern: str, numbers: int = 0) -> Sign:
    return Sign(name, weight, re.compile(pattern), numbers)  # the text is in lower case: half the time


# Every repetition is bounded: a hostile prompt costs a few milliseconds at most (tests/gateway/test_rules.py).
SIGNS = (
    _sign(
        "code",
        0.6,
        r"```|\bdef \w{1,60}\(|\bclass \w{1,60}[:({]|\bfunction\b|\bfunci[oó]n\b|traceback|#include"
        r"|\bselect\b.{1,200}\bfrom\b"
        r"|\b(?:python|javascript|rust|c\+\+|sql|regex|bug|compile|algorithm|algoritmo)\b",
    ),
    _sign(
        "math",
        0.6,
        r"\d ?[-+*/^×÷=%] ?\d|\\frac|\\int|\b(?:equation|integral|derivative|square root|percent|probability"
        r"|divided by|multiplied by|ecuaci[oó]n|derivada|ra[ií]z|porcentaje|probabilidad)\b",
    ),
    _sign(
        "quantity",
        0.6,
        r"\b(?:how (?:many|much|long|old|far)|in total|cu[aá]nt[oa]s?|calculate|compute|calcula|solve|resuelve)\b",
        numbers=2,
    ),
    _sign(
        "logic",
        0.5,
        r"\bif all\b|\b(?:implies|therefore|logically|deduce|must be true|necessarily|puzzle|liar|knight|paradox)\b"
        r"|\b(?:taller|older|faster|heavier|shorter|younger) than\b.{1,200}"
        r"\b(?:taller|older|faster|heavier|shorter|younger)\b"
        r"|\b(?:implica|por lo tanto|l[oó]gica|acertijo)\b",
    ),
    _sign(
        "several_steps",
        0.5,
        r"\bstep[- ]by[- ]step\b|\bpaso a paso\b|\bfirst\b.{1,200}\bthen\b|\bprimero\b.{1,200}\b(?:luego|despu[eé]s)\b"
        r"|\b(?:prove|proof|derive|compare|trade-?offs?|analy[sz]e|design|plan|demuestra|compara|analiza|dise[ñn]a)\b"
        r"|\n ?(?:[-*]|\d{1,2}[.)]) [^\n]{1,300}\n ?(?:[-*]|\d{1,2}[.)]) |\?[^?]{3,400}\?",
    ),
    _sign("reason", 0.3, r"\b(?:why|explain|how (?:do|does|can|would|should)|por qu[eé]|explica|c[oó]mo)\b"),
    _sign("caution", 0.4, r"\b(?:double[- ]check|verify|carefully|exactly|precisely|verifica|comprueba|exactamente)\b"),
)
SMALL_TALK = re.compile(
    r"^\W*(?:hi|hello|hey|thanks?|thank you|good (?:morning|evening|night|afternoon)|how are you|bye|ok(?:ay)?|cool"
    r"|great|nice|hola|gracias|buen[oa]s (?:d[ií]as|tardes|noches)|adi[oó]s|vale|qu[eé] tal|tell me a joke|what'?s up"
    r"|please continue)\b",
)
LONG_WEIGHT = 0.9
NUMBER = re.compile(r"\d+(?:[.,]\d+)?")


@dataclass(frozen=True, slots=True)
class RuleScore:
    """`score` in 0..1, rounded so that it is the same after a trip through JSON; `signs` in the order of the table."""

    score: float
    signs: tuple[str, ...]
    prompt_tokens: int


def score(text: str, max_tokens_fluido: int) -> RuleScore:
    tokens = len(text) // CHARS_PER_TOKEN
    seen = text if len(text) <= 2 * WINDOW_CHARS else f"{text[:WINDOW_CHARS]}\n{text[-WINDOW_CHARS:]}"
    seen = seen.lower()
    numbers = len(NUMBER.findall(seen))
    found = [(sign.name, sign.weight) for sign in SIGNS if numbers >= sign.numbers and sign.pattern.search(seen)]
    if tokens > max_tokens_fluido:
        found.append(("long", LONG_WEIGHT))
    small_talk = not found and len(seen.split()) <= SMALL_TALK_WORDS and SMALL_TALK.match(seen) is not None
    rest = 1.0
    for _, weight in found:
        rest *= 1.0 - weight
    signs = tuple(name for name, _ in found) or (("small_talk",) if small_talk else ())
    return RuleScore(score=round(1.0 - rest, 4), signs=signs, prompt_tokens=tokens)
