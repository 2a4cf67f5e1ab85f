"""`vortex bench generate --equality`: do drafts ever change an answer, whoever drafts and however the model runs?

Plain decoding alone with resident weights is the truth. Ways of answering are compared with it token by token: how
tokens are chosen × who drafts × how wide blocks may be × resident or paged × alone or four at once. The ways of a
pairwise covering set are run (every value of a factor meets every value of each other factor), or all of them.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from vortex.bench.asking import Answer, Engine, Subject
from vortex.bench.measurement import CheckFailed
from vortex.bench.probe_drafters import Liar, Oracle
from vortex.bench.report import Report
from vortex.bench.task_prompts import TaskPrompt
from vortex.decode.drafting.drafter import Drafter
from vortex.decode.drafting.suffix_drafter import HistoryDrafter, SuffixDrafter
from vortex.decode.structure.structured import StructuredDecoding
from vortex.types import ChatRequest, Exactness, SamplingOptions

SCHEMA = {
    "type": "object",
    "properties": {
        "answer": {"type": "string"},
        "words": {"type": "array", "items": {"type": "string"}},
        "sure": {"type": "boolean"},
    },
    "required": ["answer", "words", "sure"],
}
SAMPLED = SamplingOptions(
    temperature=0.8, top_p=0.95, repetition_penalty=1.1, presence_penalty=0.1, frequency_penalty=0.1, seed=7
)
SAMPLINGS = ("greedy", "T 0.8, penalties", "JSON schema")
DRAFTERS = ("suffix", "history", "all", "always wrong", "oracle", "nearly oracle")
WIDTHS = (1, 2, 8, 32)
STREAMS = (1, 4)


class Way(NamedTuple):
    """One way of answering."""

    sampling: str
    drafter: str
    width: int
    weights: str
    streams: int


@dataclass(frozen=True, slots=True)
class EqualityMeasurement:
    """subjects: by the name of how their weights are held; `resident` is the truth. stride: each cell takes every so
    manyth prompt, another one than the cell before it, so that all prompts are used. part: which of how many parts of
    the ways, counted from 1."""

    subjects: Mapping[str, Subject]
    prompts: Sequence[TaskPrompt]
    new_tokens: int = 64
    stride: int = 1
    all_ways: bool = False
    part: tuple[int, int] = (1, 1)
    progress: Callable[[str], None] = lambda line: None

    def check(self) -> None:
        """The model must promise that its logits do not depend on a block's width."""
        for weights, subject in self.subjects.items():
            if subject.model.exactness is not Exactness.BITWISE:
                raise CheckFailed(f"{subject.name} ({weights}) does not give the same bits for any width of a block")

    def measure(self) -> Report:
        every = every_way(tuple(self.subjects))
        ways = dict(enumerate(every if self.all_ways else covering_ways(tuple(self.subjects))))
        part, num_parts = self.part
        mine = {number: way for number, way in ways.items() if number % num_parts == part - 1}
        truth = self._truth(mine)
        rows, num_answers, num_tokens, different = [], 0, 0, 0
        for number, way in mine.items():
            chosen = self._chosen(number)
            answers, drafted = self._answers(way, [truth[way.sampling, index] for index in chosen], chosen)
            wrong = sum(
                answer.token_ids != truth[way.sampling, index].token_ids
                for index, answer in zip(chosen, answers, strict=True)
            )
            num_answers += len(answers)
            num_tokens += sum(len(answer.token_ids) for answer in answers)
            different += wrong
            rows.append([*map(str, way), str(len(answers)), f"{drafted:.2f}", str(wrong)])
            self.progress(f"{len(rows)} of {len(mine)} ways, {num_answers} answers, {different} differences")
        figures = {
            "model": self.subjects["resident"].name,
            "part": f"{part}/{num_parts}",
            "prompts": len({index for _, index in truth}),
            "new_tokens": self.new_tokens,
            "ways": len(mine),
            "ways_of_the_product": len(every),
            "answers_compared": num_answers,
            "tokens_compared": num_tokens,
            "differences": different,
        }
        columns = ["sampling", "drafter", "width", "weights", "streams", "answers", "tokens/sweep", "different"]
        title = (
            f"{figures['prompts']} prompts, {len(mine)} ways, {num_answers} answers, {num_tokens} tokens: "
            f"{different} differences"
        )
        return Report("equality", title, columns, rows, figures)

    def _chosen(self, number: int) -> range:
        """Prompts of a way."""
        return range(number % self.stride, len(self.prompts), self.stride)

    def _truth(self, ways: Mapping[int, Way]) -> dict[tuple[str, int], Answer]:
        """Plain answers that the ways are compared with, by sampling and prompt."""
        subject = self.subjects["resident"]
        wanted = dict.fromkeys((way.sampling, i) for number, way in ways.items() for i in self._chosen(number))
        truth = {}
        with Engine(subject, structured=StructuredDecoding(subject.tokenizer)) as plain:
            for sampling, index in wanted:
                truth[sampling, index] = plain.ask(self._request(subject, self.prompts[index], sampling))
                self.progress(f"{len(truth)} of {len(wanted)} plain answers")
        return truth

    def _answers(self, way: Way, known: Sequence[Answer], chosen: Sequence[int]) -> tuple[list[Answer], float]:
        """Answers, and tokens per sweep of the drafted ones."""
        subject = self.subjects[way.weights]
        requests = [self._request(subject, self.prompts[index], way.sampling) for index in chosen]
        texts = [
            [*subject.prompt_ids(request), *answer.token_ids] for request, answer in zip(requests, known, strict=True)
        ]
        structured = StructuredDecoding(subject.tokenizer)
        with Engine(subject, drafters_of(way.drafter, texts), max_block=way.width, structured=structured) as engine:
            answers = engine.ask_all(requests, way.streams)
            return answers, engine.counters().get("tokens_per_sweep", 1.0)

    def _request(self, subject: Subject, prompt: TaskPrompt, sampling: str) -> ChatRequest:
        if sampling == "JSON schema":
            return subject.request(prompt.text, SamplingOptions(), self.new_tokens, json_schema=SCHEMA)
        options = SAMPLED if sampling == SAMPLINGS[1] else SamplingOptions()
        return subject.request(prompt.text, options, self.new_tokens)


def drafters_of(name: str, texts: Sequence[Sequence[int]]) -> list[Drafter]:
    """Fresh drafters. texts: prompts with their answers, for those that know them."""
    match name:
        case "suffix":
            return [SuffixDrafter()]
        case "history":
            return [HistoryDrafter()]
        case "always wrong":
            return [Liar()]
        case "oracle":
            return [Oracle(texts)]
        case "nearly oracle":
            return [Oracle(texts, wrong_every=5)]
        case _:
            return [SuffixDrafter(), HistoryDrafter(), Oracle(texts, wrong_every=3, name="nearly")]


def every_way(weights: Sequence[str]) -> list[Way]:
    return [Way(*way) for way in itertools.product(SAMPLINGS, DRAFTERS, WIDTHS, weights, STREAMS)]


def covering_ways(weights: Sequence[str]) -> list[Way]:
    """Few ways in which every pair of values of two factors occurs: the way with most new pairs first."""
    left = every_way(weights)
    missing = set().union(*map(_pairs, left))
    chosen = []
    while missing:
        best = max(left, key=lambda way: len(_pairs(way) & missing))
        chosen.append(best)
        missing -= _pairs(best)
    return chosen


def _pairs(way: Way) -> set[tuple[tuple[int, object], tuple[int, object]]]:
    return set(itertools.combinations(enumerate(way), 2))
