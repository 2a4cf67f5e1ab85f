"""Changes that a model proposes: by the anti-copy search, and by writing the whole function anew.

A small model that is asked for a fixed function mostly copies the faulty one. So the faulty function is given to it
as its own answer, and the search branches where the model is nearest to writing something else
(`GivenTextReader.rivals`): each branch becomes a line in place of the one it stands on, and a line before it. Only
lines that failing tests ran are asked.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import cast

from vortex.agent.repair.languages.language import Change
from vortex.agent.repair.locate import Suspect
from vortex.protocols import ChatBackend, GivenTextReader
from vortex.types import ChatEvent, ChatMessage, ChatRequest, GivenText, RivalSearch, SamplingOptions, TextDelta

SKIPPED = ("```", '"""', "'''")
MAX_MESSAGE_CHARS = 600
MAX_NOTES_CHARS = 600
SAMPLED_TEMPERATURE = 0.7


@dataclass(frozen=True, slots=True)
class Question:
    """What a model is told of a fault: the function, the tests' message, and what the project's documents say."""

    suspect: Suspect
    text: str  # the file
    message: str = ""
    notes: str = ""

    @property
    def function_text(self) -> str:
        return self.suspect.function.text_of(self.text)

    @property
    def fence(self) -> str:
        return f"```{self.suspect.language.name}\n"

    def messages(self) -> tuple[ChatMessage, ...]:
        parts = [
            f"This {self.suspect.language.name.capitalize()} function has a bug:",
            f"{self.fence}{self.function_text}```",
        ]
        if self.notes:
            parts.append(f"What its documents say:\n{self.notes[:MAX_NOTES_CHARS]}")
        if self.message:
            parts.append(f"A test fails:\n{self.message[-MAX_MESSAGE_CHARS:]}")
        parts.append("Write the fixed function. Change as little as possible.")
        return (ChatMessage(role="user", content="\n\n".join(parts)),)


async def anti_copy(reader: GivenTextReader, question: Question, most: int) -> list[tuple[Change, float]]:
    """Changes with the log-odds of their branch, likeliest first."""
    suspect, text = question.suspect, question.text
    body = question.function_text
    first = suspect.function.first_line
    lines = frozenset(line - first + 1 for line in suspect.lines)
    given = GivenText(text=body, messages=question.messages(), opening=question.fence)
    skip = (*SKIPPED, suspect.language.comment)
    rivals = await reader.rivals(given, RivalSearch(most=most, lines=lines, skip=skip))
    shapes = {suspect.language.shape(text)}
    found: list[tuple[Change, float]] = []
    for rival in rivals:
        for body_text in spliced(body, rival.at, rival.text):
            whole = suspect.function.replaced_in(text, body_text)
            shape = suspect.language.shape(whole)
            if shape is not None and shape not in shapes:
                shapes.add(shape)
                line = first + body[: rival.at].count("\n")
                found.append((Change(whole, line, "anti-copy"), rival.log_odds))
    return found


def spliced(body: str, at: int, text: str) -> Iterator[str]:
    """`body` with the line around `at` written on as `text` says: in its place, and as a line before it."""
    head = body[:at]
    line_start = head.rfind("\n") + 1
    new_line = head[line_start:] + text.split("```", maxsplit=1)[0]
    lines = body.split("\n")
    number = head.count("\n")
    yield "\n".join([*lines[:number], new_line, *lines[number + 1 :]])
    yield "\n".join([*lines[:number], new_line, *lines[number:]])


async def whole_functions(backend: ChatBackend, question: Question, samples: int, seed: int) -> list[Change]:
    """The function as the model writes it, greedily and then `samples` times; copies are left out."""
    suspect, text = question.suspect, question.text
    shapes = {suspect.language.shape(text)}
    found = []
    for number in range(samples + 1):
        sampling = SamplingOptions(temperature=SAMPLED_TEMPERATURE if number else 0.0, seed=seed + number)
        answer = await said(backend, question.messages(), sampling, f"repair-{number}", _room(question.function_text))
        body = function_in(answer, suspect)
        whole = suspect.function.replaced_in(text, body) if body else None
        shape = suspect.language.shape(whole) if whole else None
        if whole is not None and shape is not None and shape not in shapes:
            shapes.add(shape)
            found.append(Change(whole, suspect.function.first_line, "whole function"))
    return found


async def said(
    backend: ChatBackend, messages: Sequence[ChatMessage], sampling: SamplingOptions, name: str, max_tokens: int
) -> str:
    """The text of one answer."""
    request = ChatRequest(request_id=name, messages=tuple(messages), sampling=sampling, max_tokens=max_tokens)
    events = cast("AsyncGenerator[ChatEvent, None]", backend.chat(request))
    parts = []
    async with aclosing(events):
        async for event in events:
            if isinstance(event, TextDelta):
                parts.append(event.text)
    return "".join(parts)


def function_in(answer: str, suspect: Suspect) -> str | None:
    """The function of the same name in an answer's first block of code, or in the bare answer."""
    _, fence, rest = answer.partition("```")
    code = rest.partition("\n")[2].partition("```")[0] if fence else answer
    for function in suspect.language.functions(code):
        if function.name == suspect.function.name:
            return function.text_of(code)
    return None


def _room(text: str) -> int:
    return len(text) // 2 + 64  # tokens: code has two characters a token or more
