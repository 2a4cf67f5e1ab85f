"""A labelled set made by procedure: arithmetic, logic, look-up and small talk whose answers can be checked by program.

The same seed gives the same tasks. `difficulty` (0..1) is how much of a task has to be worked out; small talk has none.
Does not do: judge style; a task is right when what is said last is.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

NAMES = ("Ana", "Ben", "Carla", "Dov", "Elif", "Fay", "Goran", "Hana", "Ivo", "Jun")
THINGS = ("apples", "coins", "books", "stamps", "marbles", "pens")
CAPITALS = {
    "France": "Paris", "Japan": "Tokyo", "Italy": "Rome", "Spain": "Madrid", "Egypt": "Cairo", "Peru": "Lima",
    "Germany": "Berlin", "Russia": "Moscow", "Greece": "Athens", "Cuba": "Havana", "Kenya": "Nairobi",
    "Portugal": "Lisbon", "Austria": "Vienna", "Norway": "Oslo", "Poland": "Warsaw", "Ireland": "Dublin",
}  # fmt: skip
SMALL_TALK = (
    "Hello!", "Hi, how are you?", "Thanks a lot!", "Good morning!", "Tell me a joke.", "What's up?", "Good night!",
    "Hola, ¿qué tal?", "Great, thank you.", "Hey there!",
)  # fmt: skip
NUMBER = re.compile(r"-?\d+(?:,\d{3})*")


@dataclass(frozen=True, slots=True)
class Task:
    kind: str
    prompt: str
    answer: str  # "": anything said is right
    difficulty: float
    among: tuple[str, ...] = ()  # words that could be the answer

    def right(self, said: str) -> bool:
        """Whether what is said last is the answer: the last number, or the last of the words that could be it.

        So an answer that repeats the question's names on its way is not right because it named them all.
        """
        if not self.answer:
            return bool(said.strip())
        if NUMBER.fullmatch(self.answer):
            numbers = [text.replace(",", "") for text in NUMBER.findall(said)]
            return bool(numbers) and numbers[-1] == self.answer
        words = "|".join(re.escape(word) for word in (*self.among, self.answer))
        named = re.findall(rf"\b(?:{words})\b", said, re.IGNORECASE)
        return bool(named) and named[-1].lower() == self.answer.lower()


def make_tasks(count: int, seed: int = 0) -> list[Task]:
    """`count` tasks, the kinds in turn."""
    draw = random.Random(seed)
    return [MAKERS[index % len(MAKERS)](draw) for index in range(count)]


def _sum(draw: random.Random) -> Task:
    digits = draw.choice((1, 2, 3))
    a, b = (draw.randrange(10 ** (digits - 1), 10**digits) for _ in range(2))
    sign = draw.choice("+-*") if digits < 3 else draw.choice("+-")
    value = {"+": a + b, "-": a - b, "*": a * b}[sign]
    difficulty = {1: 0.1, 2: 0.4, 3: 0.6}[digits] + (0.3 if sign == "*" and digits > 1 else 0.0)
    return Task("arithmetic", f"What is {a} {sign} {b}? Answer with the number.", str(value), difficulty)


def _story(draw: random.Random) -> Task:
    name, thing = draw.choice(NAMES), draw.choice(THINGS)
    have, times, lost = draw.randrange(3, 20), draw.randrange(2, 6), draw.randrange(1, 9)
    value = have * times - lost
    text = (
        f"{name} has {have} boxes with {times} {thing} in each box and gives away {lost} {thing}. "
        f"How many {thing} are left? Answer with the number."
    )
    return Task("arithmetic", text, str(value), 0.8)


def _order(draw: random.Random) -> Task:
    people = draw.sample(NAMES, draw.choice((3, 4)))
    facts = [f"{older} is older than {younger}." for older, younger in pairwise(people)]
    draw.shuffle(facts)
    first = draw.random() < 0.5
    question = "oldest" if first else "youngest"
    text = f"{' '.join(facts)} Who is the {question}? Answer with the name."
    return Task("logic", text, people[0] if first else people[-1], 0.5 + 0.1 * len(people), tuple(people))


def _capital(draw: random.Random) -> Task:
    country = draw.choice(sorted(CAPITALS))
    question = f"What is the capital of {country}? Answer with the city."
    return Task("look-up", question, CAPITALS[country], 0.1, tuple(CAPITALS.values()))


def _talk(draw: random.Random) -> Task:
    return Task("small talk", draw.choice(SMALL_TALK), "", 0.0)


MAKERS: tuple[Callable[[random.Random], Task], ...] = (_sum, _story, _order, _capital, _talk)
