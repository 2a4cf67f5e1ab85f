"""Which sentence of which quotation an answer rests on, found by the program: small models cite badly or not at all.

An answer's own marks ([2]) are taken where they name a quotation; else the quotations are told by shared telling words.
The sentence is the one that shares most with the answer, and a little with the question. Does not prove that the answer
follows from it.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from vortex.knowledge.grounding.quoting import Quotation, split_sentences
from vortex.knowledge.terms import COMMON, terms

_MARK = re.compile(r"\[(\d{1,3})\]")
MIN_SUPPORT = 0.25  # of the answer's weight; below, nothing is cited unless the answer names it
QUESTION_SHARE = 0.3
MAX_CITATIONS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Citation:
    """`text`: the sentence, as quoted. `support`: share of the answer's telling words in it, 0 to 1."""

    quotation: Quotation
    text: str
    support: float
    named: bool  # by the answer itself

    def to_json(self) -> dict[str, object]:
        return {
            "id": self.quotation.number,
            "source": self.quotation.source,
            "title": self.quotation.title,
            "heading": self.quotation.heading,
            "place": self.quotation.place,
            "text": self.text,
            "support": round(self.support, 3),
            "named": self.named,
        }


def cite(answer: str, question: str, quotations: Sequence[Quotation]) -> list[Citation]:
    """Best supported first; empty where nothing was quoted or nothing supports the answer."""
    named = {int(number) for number in _MARK.findall(answer)}
    weigh = _Weights(quotations)
    said = set(terms(_MARK.sub(" ", answer))) - COMMON
    asked = (set(terms(question)) - COMMON) - said
    found = []
    for quotation in quotations:
        sentence, support, score = _best_sentence(quotation, said, asked, weigh)
        if quotation.number in named or support >= MIN_SUPPORT:
            citation = Citation(quotation=quotation, text=sentence, support=support, named=quotation.number in named)
            found.append((citation, score))
    found.sort(key=lambda pair: (-pair[1], pair[0].quotation.number))
    return [citation for citation, _ in found[:MAX_CITATIONS]]


class _Weights:
    """Terms by their rarity among the quoted sentences."""

    def __init__(self, quotations: Sequence[Quotation]) -> None:
        counts: Counter[str] = Counter()
        self._sentences = 0
        for quotation in quotations:
            for start, end in split_sentences(quotation.text):
                counts.update(set(terms(quotation.text[start:end])))
                self._sentences += 1
        self._counts = counts

    def of(self, words: set[str]) -> float:
        return sum(math.log(1 + self._sentences / (1 + self._counts[word])) for word in words)


def _best_sentence(quotation: Quotation, said: set[str], asked: set[str], weigh: _Weights) -> tuple[str, float, float]:
    total_said, total_asked = weigh.of(said) or 1.0, weigh.of(asked) or 1.0
    best = ("", 0.0, -1.0)
    for start, end in split_sentences(quotation.text):
        here = set(terms(quotation.text[start:end]))
        support = weigh.of(said & here) / total_said
        score = support + QUESTION_SHARE * weigh.of(asked & here) / total_asked
        if score > best[2]:
            best = (quotation.text[start:end].strip(), support, score)
    return best
