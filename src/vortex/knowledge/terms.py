"""Text to the terms that words are matched by, in English and Spanish alike, for prose and for code.

Lower case, no accents, and one rule of thumb for plurals that serves both languages (a final s, then a final e go, and
a final y is an i: file/files, servidor/servidores, query/queries). Identifiers also by their parts, so that
`maxTokens`, `max_tokens` and "max tokens" meet. Changing a rule here changes VERSION, and stores are indexed anew.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

VERSION = "1"
MAX_TERM_CHARS = 40
_WORD = re.compile(r"[^\W_]+(?:_+[^\W_]+)*", re.UNICODE)
_PARTS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+|[^\W\d_a-zA-Z]+")


def stem(word: str) -> str:
    """Short words stay, and those on -ss, -us, -is keep their s."""
    if len(word) < 4:
        return word
    if word.endswith("s") and not word.endswith(("ss", "us", "is")):
        word = word[:-1]
    if word.endswith("e") and len(word) > 3:
        word = word[:-1]
    return word[:-1] + "i" if word.endswith("y") else word


def _stems(text: str) -> frozenset[str]:
    return frozenset(stem(word) for word in text.split())


COMMON = _stems(
    """a about an and any are as at be been but by can could did do does each for from get had has have how i if in into
    is it its may me must my no not of on or our should so some such than that the their them then there these they this
    to use used using was we were what when where which while who whom whose why will with would you your
    al algo ante antes como con cual cuales cuando de del desde donde dos el ella ellas ellos en entre era es esa ese
    eso esta este esto estos fue ha han hay hace la las le les lo los mas me mi muy ni no nos o para pero por porque que
    quien se ser si sin sobre son su sus tambien te tiene todo tu un una uno unos usa y ya yo"""
)


def terms(text: str) -> list[str]:
    """In order, with repeats."""
    found: list[str] = []
    for match in _WORD.finditer(_without_accents(text)):
        word = match.group()
        found += _terms_of(word) if len(word) <= MAX_TERM_CHARS else _terms_of.__wrapped__(word)
    return found


@lru_cache(maxsize=1 << 15)  # texts say the same words again and again: a third of the time
def _terms_of(word: str) -> tuple[str, ...]:
    whole = stem(word.lower())
    found = [whole]
    if "_" in word or not (word.islower() or word[1:].islower() or word.isupper()) or _mixed(word):
        parts = (stem(part.lower()) for part in _PARTS.findall(word))
        found += [part for part in parts if part != whole and len(part) > 1]
    return tuple(term[:MAX_TERM_CHARS] for term in found)


def query_terms(text: str) -> list[str]:
    """Each once; common words only where there is nothing else."""
    every = list(dict.fromkeys(terms(text)))
    return [term for term in every if term not in COMMON] or every


def _mixed(word: str) -> bool:
    return any(char.isdigit() for char in word) and not word.isdigit()


def _without_accents(text: str) -> str:
    if text.isascii():
        return text
    return "".join(char for char in unicodedata.normalize("NFKD", text) if not unicodedata.combining(char))
