"""`vortex bench knowledge answers`: what a model's answers gain from documents, and lose by wrong ones.

First without a model: right answers in three forms are given, and the first citation is looked at. Then
each question is asked without documents, with what the search finds, and with passages of another package. Right: the
default value stands in the answer. A citation is right where the sentence it gives holds parameter and value. Ordinary
questions are looked up too: their messages must stay as they are (then the answer's bits do). A few questions share
sweeps. Ends at a time limit and says how many questions it came to; what is known so far is handed out as it goes.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import asdict, dataclass, field, replace
from importlib.resources import files
from pathlib import Path
from typing import cast

from vortex.bench.knowledge.corpus import PACKAGES, write_documents
from vortex.bench.knowledge.facts import Fact, facts, holds
from vortex.bench.knowledge.retrieval import OPEN, prepare
from vortex.bench.measurement import CheckFailed
from vortex.bench.report import Report
from vortex.knowledge.embedding import Embedder
from vortex.knowledge.grounding.grounding import Grounded, Grounding, GroundingOptions
from vortex.knowledge.search.search import KnowledgeSearch, SearchOptions
from vortex.protocols import ChatBackend
from vortex.types import ChatEvent, ChatMessage, ChatRequest, SamplingOptions, TextDelta

MAX_TOKENS = 24
TOGETHER = 4  # questions, each asked three ways
MAX_CHARS = 1500
TOP_K = 2
SYSTEM = "You are a helpful assistant who answers clearly and briefly."


USUAL = GroundingOptions(search=SearchOptions(top_k=TOP_K), max_chars=MAX_CHARS)
ANYTHING = GroundingOptions(search=replace(OPEN, top_k=TOP_K), max_chars=MAX_CHARS)


@dataclass(slots=True)
class Tally:
    """`cited`: right answers that carry a citation; `cited_at_the_sentence`: whose first one holds the answer. `given`:
    right answers that no model wrote, to questions whose passage was found."""

    asked: int = 0
    right_without: int = 0
    right_with: int = 0
    right_with_wrong_documents: int = 0
    passage_found: int = 0
    cited: int = 0
    cited_at_the_sentence: int = 0
    given: int = 0
    given_at_the_sentence: int = 0
    ordinary: int = 0
    unchanged: int = 0

    def rows(self) -> list[tuple[str, str]]:
        return [
            ("right without documents", _share(self.right_without, self.asked)),
            ("right with documents", _share(self.right_with, self.asked)),
            ("right with wrong documents", _share(self.right_with_wrong_documents, self.asked)),
            ("the passage was found", _share(self.passage_found, self.asked)),
            ("first citation holds the answer", _share(self.cited_at_the_sentence, self.cited)),
            ("the same, of right answers given", _share(self.given_at_the_sentence, self.given)),
            ("ordinary questions unchanged", _share(self.unchanged, self.ordinary)),
        ]


@dataclass(slots=True)
class AnswersMeasurement:
    folder: Path
    embedder: Embedder
    backend: ChatBackend
    runner: asyncio.Runner
    questions: int = 100
    limit_s: float = 330.0
    on_part: Callable[[Report], None] = lambda _: None
    _facts: list[Fact] = field(default_factory=list)

    def check(self) -> None:
        """There are questions, and the judge knows a right answer from a wrong one."""
        self._facts = facts(write_documents(self.folder / "documents"), self.questions)
        if len(self._facts) < min(20, self.questions):
            raise CheckFailed(f"only {len(self._facts)} questions")
        if not holds("It is 1,000.", "1000") or holds("It is 10000.", "1000") or holds("It is 7.5.", "7"):
            raise CheckFailed("the judge of answers is wrong")

    def measure(self) -> Report:
        found = prepare(self.folder, self.embedder)
        search = KnowledgeSearch(found.store, self.embedder)
        tally = Tally()
        began = time.perf_counter()
        tally.unchanged, tally.ordinary = self._ordinary(search, USUAL)
        for fact in self._facts:
            _count_given(tally, fact, Grounding(search, USUAL).ground(_question(fact.question)))
        for start in range(0, len(self._facts), TOGETHER):
            if tally.asked and time.perf_counter() - began > self.limit_s:
                break
            group = self._facts[start : start + TOGETHER]
            asked = [self._three_ways(fact, search) for fact in group]
            answers = self.runner.run(self._together([way for ways in asked for way in ways]))
            for place, (fact, (_, grounded, _)) in enumerate(zip(group, asked, strict=True)):
                _count(tally, fact, grounded, answers[3 * place : 3 * place + 3])
            self.on_part(self._report(tally, began))
        found.store.close()
        return self._report(tally, began)

    def _report(self, tally: Tally, began: float) -> Report:
        figures = {**asdict(tally), "of": len(self._facts), "seconds": round(time.perf_counter() - began)}
        return Report(
            "knowledge-answers", f"{tally.asked} questions after defaults", ("what", "share"), tally.rows(), figures
        )

    def _three_ways(self, fact: Fact, search: KnowledgeSearch) -> tuple[Grounded, Grounded, Grounded]:
        """Without documents, with them, with another package's."""
        asked = _question(fact.question)
        other = PACKAGES[(PACKAGES.index(fact.package) + 1) % len(PACKAGES)]
        grounded = Grounding(search, USUAL).ground(asked)
        misled = Grounding(search, ANYTHING).ground(asked, [str(self.folder / "documents" / other)])
        return Grounded(tuple(asked)), grounded, misled

    async def _together(self, ways: Sequence[Grounded]) -> list[str]:
        return await asyncio.gather(*(self._ask(way) for way in ways))

    def _ordinary(self, search: KnowledgeSearch, options: GroundingOptions) -> tuple[int, int]:
        grounding = Grounding(search, options)
        listed = files("vortex.bench").joinpath("data/ordinary_questions.txt").read_text(encoding="utf-8").splitlines()
        asked = [_question(line) for line in listed]
        return sum(grounding.ground(messages).messages == tuple(messages) for messages in asked), len(asked)

    async def _ask(self, grounded: Grounded) -> str:
        request = ChatRequest(
            request_id="bench", messages=grounded.messages, sampling=SamplingOptions(seed=0), max_tokens=MAX_TOKENS
        )
        text = ""
        events = cast("AsyncGenerator[ChatEvent, None]", self.backend.chat(request))
        async with aclosing(events):
            async for event in events:
                if isinstance(event, TextDelta):
                    text += event.text
        return text


def _count(tally: Tally, fact: Fact, grounded: Grounded, answers: Sequence[str]) -> None:
    """answers: without documents, with them, with wrong ones."""
    without, answer, misled = answers
    is_right = holds(answer, fact.value)
    tally.asked += 1
    tally.right_without += holds(without, fact.value)
    tally.right_with += is_right
    tally.right_with_wrong_documents += holds(misled, fact.value)
    tally.passage_found += any(_states(fact, one.text) for one in grounded.quotations)
    citations = grounded.citations(answer)
    if is_right and citations:
        tally.cited += 1
        tally.cited_at_the_sentence += _states(fact, citations[0].text)


def _count_given(tally: Tally, fact: Fact, grounded: Grounded) -> None:
    if not any(_states(fact, one.text) for one in grounded.quotations):
        return
    name, value = fact.parameter, fact.value
    for answer in (f"The default value of the parameter `{name}` is `{value}`.", value, f"`{name}` is {value}."):
        citations = grounded.citations(answer)
        tally.given += 1
        tally.given_at_the_sentence += bool(citations) and _states(fact, citations[0].text)


def _question(text: str) -> list[ChatMessage]:
    return [ChatMessage(role="system", content=SYSTEM), ChatMessage(role="user", content=text)]


def _states(fact: Fact, text: str) -> bool:
    return holds(text, fact.value) and fact.parameter in text


def _share(part: int, whole: int) -> str:
    return f"{part} of {whole} ({part / whole:.0%})" if whole else "none"
