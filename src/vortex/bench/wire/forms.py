"""`vortex bench wires`: are answers of every family split right, and what does it cost a token?

Splitting: answers made by a seed, whole and cut anywhere; each is read at once and letter by letter, the two must
agree, and whole ones must give back what was written. Where transformers describes a family too, its parser is asked
the same. Cost: the reader's and each wire's own microseconds (of the processor) for a token, without model and socket.
"""

from __future__ import annotations

import asyncio
import json
import random
import statistics
import time
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from vortex.bench.measurement import CheckFailed
from vortex.bench.report import Report
from vortex.bench.wire.family_answers import SPELLINGS, TOOLS, FamilyAnswer, family_answers
from vortex.decode.forms.families import HERMES, THINK, family
from vortex.decode.forms.form import AnswerForm
from vortex.decode.forms.reader import FormReader
from vortex.types import (
    ChatEvent,
    ChatRequest,
    ChoiceFinished,
    Completed,
    FinishReason,
    ReasoningDelta,
    TextDelta,
    Timings,
    ToolCallDelta,
    Usage,
)

Frames = Callable[[AsyncGenerator[ChatEvent, None]], AsyncGenerator[bytes, None]]
Oracle = Callable[[str, str], Mapping[str, Any] | None]
"""(family, whole answer) to a message as transformers has it, or None where it does not know the family."""

NUM_TOKENS = 2000
RUNS = 7
WORD = "word "
WORDS = [WORD] * NUM_TOKENS
ASKED = ChatRequest(request_id="bench", prompt="p", tools=TOOLS)


@dataclass(slots=True)
class Found:
    text: str = ""
    thought: str = ""
    calls: dict[int, tuple[str, str]] = field(default_factory=dict)
    reason: FinishReason | None = None

    @property
    def parsed(self) -> list[tuple[str, Any]]:
        return [(name, json.loads(arguments)) for name, arguments in self.calls.values()]


@dataclass(frozen=True, slots=True)
class WiresMeasurement:
    """writers: each wire's way out, by name. oracle: None where transformers is not installed."""

    writers: Mapping[str, Callable[[], Frames]]
    oracle: Oracle | None
    count: int = 50

    def check(self) -> None:
        """A wrong answer must be seen."""
        answer = family_answers("hermes", 2)[1]
        if _is_right(_read(_form("hermes"), [answer.written + "more"]), answer):
            raise CheckFailed("an answer with more text in it counts as the same")

    def measure(self) -> Report:
        rows: list[list[str]] = []
        figures: dict[str, object] = {}
        for name in SPELLINGS:
            same, right, agreed, asked = self._family(name)
            rows.append(
                [name, f"{same}/{2 * self.count}", f"{right}/{self.count}", f"{agreed}/{asked}" if asked else "-"]
            )
            figures[f"{name}_same"], figures[f"{name}_right"] = same, right
            figures[f"{name}_as_transformers"] = f"{agreed}/{asked}"
        for name, microseconds in self._costs():
            rows.append([f"{name}: us/token", "", "", f"{microseconds:.2f}"])
            figures[f"{name.replace(' ', '_')}_us_per_token"] = round(microseconds, 2)
        columns = ["what", "same whole and by letters", "as written", "as transformers"]
        figures |= {"answers_per_family": 2 * self.count, "tokens": NUM_TOKENS, "runs": RUNS}
        return Report("wires", "answers read by their family's form, and written on each wire", columns, rows, figures)

    def _family(self, name: str) -> tuple[int, int, int, int]:
        """Answers split the same, whole ones as written, and as transformers has them, of how many."""
        form, draw = _form(name), random.Random(name)
        same = right = agreed = asked = 0
        for answer in family_answers(name, self.count):
            whole = _read(form, [answer.written])
            same += whole == _read(form, answer.written)
            right += _is_right(whole, answer)
            told = self.oracle(name, answer.written) if self.oracle else None
            if told is not None:
                asked += 1
                agreed += _agrees(whole, told)
        for answer in family_answers(name, self.count, seed=1):
            cut = answer.written[: draw.randrange(len(answer.written))]
            same += _read(form, [cut], FinishReason.LENGTH) == _read(form, cut, FinishReason.LENGTH)
        return same, right, agreed, asked

    def _costs(self) -> Iterator[tuple[str, float]]:
        """Medians, the kinds taking turns."""
        readers = {"reader of text": _form("hermes"), "reader of text, harmony": _form("harmony")}
        plain = replace(ASKED, tools=())
        runs: dict[str, list[float]] = {}
        for _ in range(RUNS):
            for name, form in readers.items():
                runs.setdefault(name, []).append(_timed(partial(_read, form, WORDS)))
            without = _timed(partial(_read, _form("hermes"), WORDS, request=plain))
            runs.setdefault("reader without tools", []).append(without)
            for name, make in self.writers.items():
                runs.setdefault(f"wire {name}", []).append(_timed(partial(_run, _drained(make()))))
            runs.setdefault("events alone", []).append(_timed(partial(_run, _counted(_events()))))
        for name, seconds in runs.items():
            yield name, statistics.median(seconds) / NUM_TOKENS * 1e6


def _run(work: Coroutine[None, None, int]) -> int:
    return asyncio.run(work)


def _timed(work: Callable[[], object]) -> float:
    """Seconds of this thread's processor time: what else runs on the machine does not count."""
    started = time.thread_time()
    work()
    return time.thread_time() - started


async def _drained(frames: Frames) -> int:
    return sum([len(data) async for data in frames(_events())])


async def _counted(events: AsyncGenerator[ChatEvent, None]) -> int:
    return len([event async for event in events])


async def _events() -> AsyncGenerator[ChatEvent, None]:
    for _ in range(NUM_TOKENS):
        yield TextDelta(choice=0, text=WORD, num_tokens=1)
    yield ChoiceFinished(choice=0, reason=FinishReason.STOP)
    yield Completed(usage=Usage(prompt_tokens=1, completion_tokens=NUM_TOKENS), timings=Timings())


def _form(name: str) -> AnswerForm:
    form = family(name)
    return replace(form, thinking=(THINK,)) if form.name in (HERMES.name, "qwen3_coder") else form


def _read(
    form: AnswerForm,
    pieces: Sequence[str],
    reason: FinishReason = FinishReason.STOP,
    request: ChatRequest = ASKED,
) -> Found:
    reader, found = FormReader(request, form), Found()
    events: list[ChatEvent] = []
    for piece in pieces:
        events += reader.read(TextDelta(choice=0, text=piece, num_tokens=1))
    events += reader.read(ChoiceFinished(choice=0, reason=reason))
    for event in events:
        if isinstance(event, TextDelta):
            found.text += event.text
        elif isinstance(event, ReasoningDelta):
            found.thought += event.text
        elif isinstance(event, ToolCallDelta):
            name, arguments = found.calls.get(event.index, (event.name or "", ""))
            found.calls[event.index] = (name, arguments + event.arguments)
        elif isinstance(event, ChoiceFinished):
            found.reason = event.reason
    return found


def _is_right(found: Found, answer: FamilyAnswer) -> bool:
    return (found.thought, found.text, found.parsed) == (answer.thought, answer.text, list(answer.calls))


def _agrees(found: Found, told: Mapping[str, Any]) -> bool:
    calls = [(call["function"]["name"], call["function"]["arguments"]) for call in told.get("tool_calls") or ()]
    thought = told.get("reasoning_content") or ""
    return (found.thought, found.text.strip(), found.parsed) == (thought, told.get("content") or "", calls)


def transformers_oracle() -> Oracle | None:
    """The library's own parser with its own descriptions; None where it is not installed, or older than they are."""
    try:
        from transformers.cli.serving.utils import _RESPONSE_TEMPLATE_FALLBACKS as described
        from transformers.utils.chat_parsing import parse_response
    except ImportError:
        return None
    kinds = {"hermes": "qwen3", "qwen3_coder": "qwen3_5", "gemma4": "gemma4"}
    tools = [{"type": "function", "function": {"name": t.name, "parameters": dict(t.parameters)}} for t in TOOLS]

    def ask(name: str, written: str) -> Mapping[str, Any] | None:
        kind = kinds.get(name)
        if kind is None:
            return None
        template = next(value for types, value in described.items() if kind in types)
        told: Mapping[str, Any] = parse_response(written, template, prefix="", tools=tools)
        return told

    return ask
