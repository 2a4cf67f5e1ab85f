"""The rules probe: cheap signs in a prompt's text that it needs care, in English and Spanish.

Each sign that is found has a weight; the score is 1 - Π(1 - weight): one strong sign or two middling ones are
enough. Rules see the user's last turn, at most WINDOW_CHARS from either end, so a 10 MB prompt costs what a page costs.
A text is cut into words once; a pattern is searched only where one of its words is there. Plain patterns, searched one
after the other, cost many times as much; they are the oracle of tests/gateway/test_rules.py. Does not do: understand.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

WINDOW_CHARS = 2000
CHARS_PER_TOKEN = 4  # of common English; an estimate is enough for a length rule
SMALL_TALK_WORDS = 12


@dataclass(frozen=True, slots=True)
class Phrase:
    """A pattern that can only match where one of `words` is a word of the text; without words: tried always."""

    words: frozenset[str]
    pattern: re.Pattern[str]


@dataclass(frozen=True, slots=True)
class Sign:
    """Found by any of `words`, of `pieces` (anywhere in the text) or of `phrases`, in a text of that many numbers."""

    name: str
    weight: float
    words: frozenset[str]
    pieces: tuple[str, ...] = ()
    phrases: tuple[Phrase, ...] = ()
    numbers: int = 0


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


def _phrase(words: str, pattern: str) -> Phrase:
    return Phrase(_words(words), re.compile(pattern))  # the text is in lower case: half the time


COMPARED = r"(?:taller|older|faster|heavier|shorter|younger)"
ITEM = r"\n ?(?:[-*]|\d{1,2}[.)]) "

# Every repetition is bounded: a hostile prompt costs a few milliseconds at most (tests/gateway/test_rules.py).
SIGNS = (
    Sign(
        "code",
        0.6,
        _words("function función funcion python javascript rust sql regex bug compile algorithm algoritmo"),
        ("```", "#include", "traceback", "c++"),
        (
            _phrase("def", r"\bdef \w{1,60}\("),
            _phrase("class", r"\bclass \w{1,60}[:({]"),
            _phrase("select", r"\bselect\b.{1,200}\bfrom\b"),
        ),
    ),
    Sign(
        "math",
        0.6,
        _words(
            "equation integral derivative percent probability"
            " ecuación ecuacion derivada raíz raiz porcentaje probabilidad"
        ),
        ("\\frac", "\\int"),
        (
            _phrase("", r"\d ?[-+*/^×÷=%] ?\d"),
            _phrase("square divided multiplied", r"\b(?:square root|divided by|multiplied by)\b"),
        ),
    ),
    Sign(
        "quantity",
        0.6,
        _words("cuánto cuanto cuánta cuanta cuántos cuantos cuántas cuantas calculate compute calcula solve resuelve"),
        (),
        (_phrase("how total", r"\b(?:how (?:many|much|long|old|far)|in total)\b"),),
        numbers=2,
    ),
    Sign(
        "logic",
        0.5,
        _words(
            "implies therefore logically deduce necessarily puzzle liar knight paradox implica lógica logica acertijo"
        ),
        (),
        (
            _phrase("all must tanto", r"\b(?:if all|must be true|por lo tanto)\b"),
            _phrase("than", rf"\b{COMPARED} than\b.{{1,200}}\b{COMPARED}\b"),
        ),
    ),
    Sign(
        "several_steps",
        0.5,
        _words(
            "prove proof derive compare tradeoff tradeoffs analyse analyze design plan"
            " demuestra compara analiza diseña disena"
        ),
        (),
        (
            _phrase("step paso trade", r"\b(?:step[- ]by[- ]step|paso a paso|trade-offs?)\b"),
            _phrase("first", r"\bfirst\b.{1,200}\bthen\b"),
            _phrase("primero", r"\bprimero\b.{1,200}\b(?:luego|despu[eé]s)\b"),
            _phrase("", rf"{ITEM}[^\n]{{1,300}}{ITEM}"),
            _phrase("", r"\?[^?]{3,400}\?"),
        ),
    ),
    Sign(
        "reason",
        0.3,
        _words("why explain explica cómo como"),
        (),
        (_phrase("how por", r"\b(?:how (?:do|does|can|would|should)|por qu[eé])\b"),),
    ),
    Sign(
        "caution",
        0.4,
        _words("verify carefully exactly precisely verifica comprueba exactamente"),
        (),
        (_phrase("double", r"\bdouble[- ]check\b"),),
    ),
)
SMALL_TALK = re.compile(
    r"^\W*(?:hi|hello|hey|thanks?|thank you|good (?:morning|evening|night|afternoon)|how are you|bye|ok(?:ay)?|cool"
    r"|great|nice|hola|gracias|buen[oa]s (?:d[ií]as|tardes|noches)|adi[oó]s|vale|qu[eé] tal|tell me a joke|what'?s up"
    r"|please continue)\b",
)
LONG_WEIGHT = 0.9
NUMBER = re.compile(r"\d+(?:[.,]\d+)?")
WORD = re.compile(r"\w+")
ASCII_BREAKS = {code: " " for code in range(128) if not re.match(r"\w", chr(code))}


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
    words = words_of(seen)
    found = [(sign.name, sign.weight) for sign in SIGNS if shows(sign, seen, words)]
    if tokens > max_tokens_fluido:
        found.append(("long", LONG_WEIGHT))
    small_talk = not found and len(seen.split()) <= SMALL_TALK_WORDS and SMALL_TALK.match(seen) is not None
    rest = 1.0
    for _, weight in found:
        rest *= 1.0 - weight
    signs = tuple(name for name, _ in found) or (("small_talk",) if small_talk else ())
    return RuleScore(score=round(1.0 - rest, 4), signs=signs, prompt_tokens=tokens)


def words_of(text: str) -> frozenset[str]:
    """What `\\w+` finds, which for ASCII can be had in a tenth of the time."""
    return frozenset(text.translate(ASCII_BREAKS).split() if text.isascii() else WORD.findall(text))


def shows(sign: Sign, text: str, words: frozenset[str]) -> bool:
    """Whether the text, of which `words` are the words, shows the sign."""
    found = not sign.words.isdisjoint(words)
    if not found and sign.pieces:
        found = any(piece in text for piece in sign.pieces)
    if not found:
        for phrase in sign.phrases:
            if not (phrase.words and phrase.words.isdisjoint(words)) and phrase.pattern.search(text):
                found = True
                break
    return found and (not sign.numbers or len(NUMBER.findall(text)) >= sign.numbers)
