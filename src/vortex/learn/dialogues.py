"""Questions for a small model to learn to talk by, and the short dialogues whose answers are certain.

Two sources. Facts: questions whose answers are written here (greetings, capitals, sums, opposites), each in several
phrasings. Prompts: open questions that a teacher model answers (`teacher_text.py`). Both are made of the words in
`data/topics.yaml` and follow from a seed. A dialogue is a list of (role, text).
"""

from __future__ import annotations

import functools
import random
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from typing import Any

import yaml

Dialogue = list[tuple[str, str]]

SHORT = "You are a friendly assistant. Answer in one or two short, simple sentences. Use easy words."
STORY = "You tell very short stories for children in four or five short, simple sentences. Use easy words."
SHORT_TOKENS, STORY_TOKENS = 64, 110
SUMS_PER_COPY = 24
TWO_OPPOSITES = {"old", "light"}  # each has two, so that it is never asked for


@dataclass(frozen=True, slots=True)
class TeacherPrompt:
    """A question for the teacher. `system` steers the teacher and is not kept; `max_tokens` bounds its answer."""

    question: str
    system: str
    max_tokens: int


def facts(seed: int, copies: int) -> list[Dialogue]:
    """Dialogues of certain answers; each is drawn anew `copies` times, some with a greeting before."""
    chance, topics = random.Random(seed), _topics()
    found: list[Dialogue] = []
    for _ in range(copies):
        for question, answer in _certain(chance):
            start: Dialogue = []
            if chance.random() < 0.12:
                start = [("user", chance.choice(topics["greetings"])), ("assistant", chance.choice(topics["welcomes"]))]
            found.append([*start, ("user", _varied(question, chance)), ("assistant", answer)])
    chance.shuffle(found)
    return found


def teacher_prompts(seed: int, count: int) -> list[TeacherPrompt]:
    """`count` different questions in random order: open questions first, then as many stories as are missing."""
    chance, topics = random.Random(seed), _topics()
    found = [TeacherPrompt(question, SHORT, SHORT_TOKENS) for question in dict.fromkeys(_open_questions())]
    chance.shuffle(found)
    words = [*topics["animals"], *topics["things"], *topics["nature"], *topics["jobs"]]
    seen = set()
    while len(found) < count:
        first, second = (_with_article(word) for word in chance.sample(words, 2))
        question = f"Tell me a story about {first}."
        if chance.random() < 0.8:
            question = chance.choice(topics["story_forms"]).format(first, second)
        if question not in seen:
            seen.add(question)
            found.append(TeacherPrompt(question, STORY, STORY_TOKENS))
    found = found[:count]
    chance.shuffle(found)
    return found


def is_asked_about(word: str) -> bool:
    """Whether any question here is made of the word."""
    lists = [words for words in _topics().values() if isinstance(words, list)]
    return any(word in str(entry).split() for words in lists for entry in words)


@functools.cache
def _topics() -> dict[str, Any]:
    text = (resources.files("vortex.learn") / "data" / "topics.yaml").read_text(encoding="utf-8")
    topics: dict[str, Any] = yaml.safe_load(text)
    return topics


def _open_questions() -> Iterator[str]:
    topics = _topics()
    yield from topics["advice"]
    for group in topics["open_forms"]:
        for kind in group["words"]:
            for word in topics[kind]:
                yield from (form.format(a=_with_article(word), w=word) for form in group["forms"])


def _certain(chance: random.Random) -> Iterator[tuple[str, str]]:
    topics = _topics()
    for greeting in topics["greetings"]:
        yield greeting, chance.choice(topics["welcomes"])
    for question, answers in topics["talk"].items():
        yield question, chance.choice(answers)
    yield from topics["counts"].items()
    for country, capital in topics["capitals"].items():
        yield chance.choice(topics["capital_forms"]).format(country), f"The capital of {country} is {capital}."
        if chance.random() < 0.3:
            question = chance.choice(("What is {}?", "Where is {}?")).format(capital)
            yield question, f"{capital} is the capital of {country}."
    for pair in topics["opposites"]:
        first, second = pair if chance.random() < 0.5 else reversed(pair)
        if first not in TWO_OPPOSITES:
            yield f"What is the opposite of {first}?", f"The opposite of {first} is {second}."
    for thing, colour in topics["colours"].items():
        yield f"What colour is {thing}?", f"{_capitalised(thing)} is {colour}."
    for animal, sound in topics["sounds"].items():
        named = _with_article(animal)
        yield f"What sound does {named} make?", f"{_capitalised(named)} {sound}."
    for kind in ("day", "month"):
        yield from _neighbours(kind, topics[f"{kind}s"])
    for _ in range(SUMS_PER_COPY):
        yield _sum(chance, topics["numbers"])


def _neighbours(kind: str, names: list[str]) -> Iterator[tuple[str, str]]:
    for at, name in enumerate(names):
        after, before = names[(at + 1) % len(names)], names[at - 1]
        yield f"What {kind} comes after {name}?", f"{after} comes after {name}."
        yield f"What {kind} comes before {name}?", f"{before} comes before {name}."


def _sum(chance: random.Random, names: list[str]) -> tuple[str, str]:
    first, second = chance.randint(0, 10), chance.randint(0, 10)
    total = first + second
    if chance.random() < 0.4:
        high, low = max(first, second), min(first, second)
        return f"What is {high} - {low}?", f"{high} - {low} = {high - low}."
    if chance.random() < 0.3 and total < len(names):
        one, two, both = names[first], names[second], names[total]
        return f"What is {one} plus {two}?", f"{one.capitalize()} plus {two} is {both}."
    return f"What is {first} + {second}?", f"{first} + {second} = {total}."


def _varied(question: str, chance: random.Random) -> str:
    """The question as people type it: sometimes in lower case or without its mark."""
    kind = chance.random()
    if kind < 0.12:
        return question.lower()
    if kind < 0.2:
        return question.rstrip("?.!")
    if kind < 0.26 and question.endswith("?"):
        return f"Please tell me: {question[0].lower()}{question[1:]}"
    return question


def _with_article(word: str) -> str:
    return f"an {word}" if word[0] in "aeiou" else f"a {word}"


def _capitalised(text: str) -> str:
    return text[0].upper() + text[1:]
