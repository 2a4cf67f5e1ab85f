"""Further inputs, made from known ones: the same shapes with other numbers, letters and lengths.

A list that was in order stays in order, and what was an index, a set of choices or a table keeps its kind, as far as
that can be seen. An input that the right version cannot answer is left out by whoever compares.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Sequence
from typing import Any

LETTERS = "abcxyz ABZ.,()[]{}=;_019"


def further_inputs(calls: Sequence[list[Any]], number: int, seed: int) -> list[list[Any]]:
    """`number` argument lists, the known ones first."""
    generator = random.Random(seed)
    found = [copy.deepcopy(call) for call in calls]
    seen = {repr(call) for call in found}
    for _ in range(20 * number):
        if len(found) >= number or not calls:
            break
        call = copy.deepcopy(found[generator.randrange(len(found))])
        for _ in range(generator.randint(1, 2)):
            index = generator.randrange(len(call)) if call else 0
            if call:
                call[index] = changed(call[index], generator)
        if repr(call) not in seen and len(repr(call)) < 600:
            seen.add(repr(call))
            found.append(call)
    return found[:number]


def changed(value: Any, generator: random.Random) -> Any:
    """Another value of the same shape."""
    match value:
        case bool():
            return not value
        case int():
            return generator.choice([value + 1, value - 1, -value, value * 2, generator.randint(-3, 30), 0])
        case float():
            return round(generator.choice([value + 1, value / 2, -value, value * 3]), 3)
        case str():
            return _text(value, generator)
        case list():
            return _sequence(value, generator)
        case tuple():
            return tuple(changed(one, generator) if generator.random() < 0.5 else one for one in value)
        case dict():
            table = dict(value)
            for key in list(table):
                roll = generator.random()
                if roll < 0.2:
                    del table[key]
                elif roll < 0.6:
                    table[key] = changed(table[key], generator)
            return table
        case _:
            return value


def _text(value: str, generator: random.Random) -> str:
    at = generator.randint(0, len(value))
    letter = generator.choice(value or LETTERS) if generator.random() < 0.6 else generator.choice(LETTERS)
    match generator.randrange(5):
        case 0:
            return value[:at] + letter + value[at:]
        case 1:
            return value[:at] + value[at + 1 :]
        case 2:
            return value[:at] + value[at:] * 2
        case 3:
            return value[::-1]
        case _:
            return value[:at].swapcase() + value[at:]


def _sequence(values: list[Any], generator: random.Random) -> list[Any]:
    in_order = _is_in_order(values)
    found = list(values)
    at = generator.randint(0, len(found))
    match generator.randrange(4):
        case 0:
            found = found[:at] + found[at + 1 :]
        case 1 if found:
            found.insert(at, copy.deepcopy(generator.choice(found)))
        case 2 if found:
            place = generator.randrange(len(found))
            found[place] = changed(found[place], generator)
        case _:
            generator.shuffle(found)
    if in_order:
        try:
            found.sort()
        except TypeError:
            return found
    return found


def _is_in_order(values: list[Any]) -> bool:
    try:
        return len(values) > 1 and values == sorted(values)
    except TypeError:
        return False
