"""The rules probe: its words and gated phrases find what one plain pattern per sign finds, and no text holds it up."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vortex.gateway.rules import NUMBER, SIGNS, score, shows, words_of

COMPARED = r"(?:taller|older|faster|heavier|shorter|younger)"
PLAIN = {  # the readable twin: (pattern, numbers the text must hold)
    "code": (
        r"```|\bdef \w{1,60}\(|\bclass \w{1,60}[:({]|\bfunction\b|\bfunci[oó]n\b|traceback|#include|c\+\+"
        r"|\bselect\b.{1,200}\bfrom\b|\b(?:python|javascript|rust|sql|regex|bug|compile|algorithm|algoritmo)\b",
        0,
    ),
    "math": (
        r"\d ?[-+*/^×÷=%] ?\d|\\frac|\\int|\b(?:equation|integral|derivative|square root|percent|probability"
        r"|divided by|multiplied by|ecuaci[oó]n|derivada|ra[ií]z|porcentaje|probabilidad)\b",
        0,
    ),
    "quantity": (
        r"\b(?:how (?:many|much|long|old|far)|in total|cu[aá]nt[oa]s?|calculate|compute|calcula|solve|resuelve)\b",
        2,
    ),
    "logic": (
        r"\bif all\b|\b(?:implies|therefore|logically|deduce|must be true|necessarily|puzzle|liar|knight|paradox)\b"
        rf"|\b{COMPARED} than\b.{{1,200}}\b{COMPARED}\b|\b(?:implica|por lo tanto|l[oó]gica|acertijo)\b",
        0,
    ),
    "several_steps": (
        r"\bstep[- ]by[- ]step\b|\bpaso a paso\b|\bfirst\b.{1,200}\bthen\b|\bprimero\b.{1,200}\b(?:luego|despu[eé]s)\b"
        r"|\b(?:prove|proof|derive|compare|trade-?offs?|analy[sz]e|design|plan|demuestra|compara|analiza|dise[ñn]a)\b"
        r"|\n ?(?:[-*]|\d{1,2}[.)]) [^\n]{1,300}\n ?(?:[-*]|\d{1,2}[.)]) |\?[^?]{3,400}\?",
        0,
    ),
    "reason": (r"\b(?:why|explain|how (?:do|does|can|would|should)|por qu[eé]|explica|c[oó]mo)\b", 0),
    "caution": (r"\b(?:double[- ]check|verify|carefully|exactly|precisely|verifica|comprueba|exactamente)\b", 0),
}
PARTS = sorted(
    {word for sign in SIGNS for word in sign.words}
    | {piece for sign in SIGNS for piece in sign.pieces}
    | {word for sign in SIGNS for phrase in sign.phrases for word in phrase.words}
    | {
        "how many",
        "in total",
        "by",
        "then",
        "luego",
        "después",
        "from",
        "def f(",
        "class A:",
        "12",
        "3.5",
        "*",
        "7",
        "-",
    }
    | {"+", "=", "?", "\n- ", "\n2) ", "root", "a", "lo", "be", "true", "older", "taller than", "do", "qué", "que"}
    | {"check", "offs", "ñ", "_", "by step", "a paso", "x"}
)


@given(st.lists(st.sampled_from(PARTS), max_size=12), st.sampled_from([" ", " ", "", "-", "\n", "."]))
def test_words_and_gated_phrases_find_what_plain_patterns_find(parts: list[str], between: str) -> None:
    text = between.join(parts).lower()
    for sign in SIGNS:
        pattern, numbers = PLAIN[sign.name]
        plain = re.search(pattern, text) is not None and len(NUMBER.findall(text)) >= numbers
        assert shows(sign, text, words_of(text)) == plain, (sign.name, text)


@given(st.text(max_size=40))
def test_words_are_what_the_pattern_calls_words(text: str) -> None:
    assert words_of(text) == frozenset(re.findall(r"\w+", text))


HOSTILE = {
    "digits": "1 " * 5000, "questions": "?a" * 5000, "items": "\n- a" * 3000, "lines": " \n" * 5000,
    "select": "select " * 2000, "first": "first " * 2000, "older": "older than " * 1000, "class": "class a" * 2000,
    "accents": "á" * 10_000, "one word": "a" * 10_000_000,
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_no_text_holds_the_loop_up(name: str) -> None:
    text = HOSTILE[name]
    score(text, 150)
    spent = []
    for _ in range(3):
        started = time.process_time()
        score(text, 150)
        spent.append(time.process_time() - started)
    assert min(spent) < 0.02
