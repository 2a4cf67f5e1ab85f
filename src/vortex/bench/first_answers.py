"""`vortex bench first-answers`: fifty ordinary questions as a new user asks them; how many answers loop or are right.

The questions (half of them Spanish) are in data/first_questions.json, written for this measurement; `expects` is a
pattern that a right answer holds, empty where no single answer is right. An answer loops if the engine ended it for
that, or if a sentence or line of it stands there three times. Asked as `vortex chat` asks: greedily unless the model's
own sampling says otherwise.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from importlib.resources import files
from typing import cast

from vortex.bench.measurement import CheckFailed
from vortex.bench.report import Report
from vortex.protocols import ChatBackend
from vortex.types import ChatEvent, ChatRequest, ChoiceFinished, FinishReason, TextDelta

REPEATS = 3
SHORTEST = 12  # characters of a sentence that counts


@dataclass(frozen=True, slots=True)
class FirstAnswer:
    """expects: None where no single answer is right."""

    language: str
    question: str
    text: str
    is_right: bool | None
    loops: bool
    was_ended: bool
    is_cut: bool


@dataclass(frozen=True, slots=True)
class FirstAnswersMeasurement:
    """request_for: a question as the program's own chat asks it."""

    backend: ChatBackend
    runner: asyncio.Runner
    model: str
    request_for: Callable[[str], ChatRequest]
    questions: int = 50
    on_answer: Callable[[FirstAnswer], None] = lambda _: None

    def check(self) -> None:
        """The judge must tell a loop and a right answer."""
        if not repeats("I am a fine cat.\n" * REPEATS) or repeats("I am a cat. You are a dog. We are pets."):
            raise CheckFailed("a loop is not told from an answer")

    def measure(self) -> Report:
        answers = [self.runner.run(self._ask(row)) for row in chosen(load_questions(), self.questions)]
        rows, figures = [], {"model": self.model, "questions": len(answers)}
        for language in ("en", "es"):
            part = [answer for answer in answers if answer.language == language]
            judged = [answer.is_right for answer in part if answer.is_right is not None]
            counts = {
                "asked": len(part),
                "loops": sum(answer.loops for answer in part),
                "ended_for_it": sum(answer.was_ended for answer in part),
                "cut": sum(answer.is_cut for answer in part),
                "judged": len(judged),
                "right": sum(judged),
            }
            rows.append([language, *map(str, counts.values())])
            figures |= {f"{language}_{name}": count for name, count in counts.items()}
        columns = ["language", "asked", "loop", "ended for it", "cut", "judged", "right"]
        return Report("first-answers", f"first answers of {self.model}", columns, rows, figures)

    async def _ask(self, row: Mapping[str, str]) -> FirstAnswer:
        pieces, end = [], ChoiceFinished(choice=0, reason=FinishReason.STOP)
        asked = self.backend.chat(self.request_for(row["question"]))
        async with aclosing(cast("AsyncGenerator[ChatEvent, None]", asked)) as events:
            async for event in events:
                if isinstance(event, TextDelta):
                    pieces.append(event.text)
                elif isinstance(event, ChoiceFinished):
                    end = event
        text = "".join(pieces)
        expects = row["expects"]
        answer = FirstAnswer(
            language=row["language"],
            question=row["question"],
            text=text,
            is_right=bool(re.search(expects, text, re.IGNORECASE | re.DOTALL)) if expects else None,
            loops=bool(end.note) or repeats(text),
            was_ended=bool(end.note),
            is_cut=end.reason is FinishReason.LENGTH,
        )
        self.on_answer(answer)
        return answer


def load_questions() -> list[dict[str, str]]:
    text = files("vortex.bench").joinpath("data", "first_questions.json").read_text(encoding="utf-8")
    questions: list[dict[str, str]] = json.loads(text)
    return questions


def chosen(questions: Sequence[dict[str, str]], number: int) -> list[dict[str, str]]:
    """The first `number`, of both languages in turn."""
    half = len(questions) // 2
    pairs = zip(questions[:half], questions[half:], strict=True)
    return [question for pair in pairs for question in pair][:number]


def repeats(text: str) -> bool:
    """Whether some sentence or line stands there three times."""
    parts = Counter(part.strip().lower() for part in re.split(r"[.!?\n]+", text) if len(part.strip()) >= SHORTEST)
    return bool(parts) and max(parts.values()) >= REPEATS
