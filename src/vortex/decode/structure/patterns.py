"""Regular expressions as automata: from what is written of a string, the fewest characters after which it matches.

Reads the part of the syntax that JSON schemas use: characters, classes, groups, alternatives, repetitions, the anchors
at either end. What it cannot read (look-around, back references, word borders) it says; nothing is enforced here, a
grammar does that: this only finds the way to an end.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

Test = Callable[[str], bool]

MAX_STATES = 20_000
MAX_VISITED = 4_000  # sets of states that a search looks at
SAMPLES = "a0A_-.:/@ bzZ19+éß漢"  # one of each kind of character, the plainest first
LOCAL = "[A-Za-z0-9._-]+"
FORMATS = {
    "email": f"^{LOCAL}@[a-z0-9]+(\\.[a-z0-9]+)*$",
    "uri": "^[a-z][a-z0-9+.-]*:(//[A-Za-z0-9.:_-]+)?[A-Za-z0-9/._~?#=&%:@!,;+-]*$",
    "hostname": "^[A-Za-z0-9]+([-.][A-Za-z0-9]+)*$",
    "duration": "^P([0-9]+[YMDW]|[0-9]+Y[0-9]+M|[0-9]+M[0-9]+D|(([0-9]+D)?T([0-9]+[HMS]|[0-9]+H[0-9]+M)))$",
    "date": "^[12][0-9]{3}-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])$",
    "time": "^([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\\.[0-9]+)?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$",
    "ipv4": "^[0-9]{1,2}(\\.[0-9]{1,2}){3}$",
    "ipv6": "^([0-9a-fA-F]{1,4}(:[0-9a-fA-F]{1,4}){7}|::|([0-9a-fA-F]{1,4}:){1,6}:[0-9a-fA-F]{1,4})$",
    "uuid": "^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$",
}
FORMATS["date-time"] = FORMATS["date"][:-1] + "[Tt ]" + FORMATS["time"][1:]


class UnreadPattern(ValueError):
    """Syntax beyond what is read here, or too large an automaton."""


@dataclass(slots=True)
class _States:
    """Thompson's construction: `steps` take a character, `free` take none."""

    steps: list[list[tuple[Test, int]]] = field(default_factory=list)
    free: list[list[int]] = field(default_factory=list)

    def new(self) -> int:
        if len(self.steps) >= MAX_STATES:
            raise UnreadPattern("the pattern repeats too much")
        self.steps.append([])
        self.free.append([])
        return len(self.steps) - 1


class Pattern:
    """One expression, to be found anywhere in a string unless it is anchored. Raises UnreadPattern."""

    def __init__(self, source: str) -> None:
        self.letters = "".join(dict.fromkeys(c for c in source if c.isprintable() and c not in "\\^$()[]{}|*+?"))
        self._states = _States()
        reader = _Reader(source, self._states)
        self._start, self._end = reader.read()
        self.completion = functools.lru_cache(256)(self._completion)
        """See `_completion`; the last ones are kept."""

    def _completion(self, written: str, max_chars: int = 256) -> str | None:
        """The fewest characters that make `written` match; None where none do, or none were found within bounds."""
        states = self._free({self._start})
        for character in written:
            states = self._step(states, character)
            if not states:
                return None
        return self._shortest(states, max_chars)

    def _shortest(self, states: frozenset[int], max_chars: int) -> str | None:
        alphabet = list(dict.fromkeys(self.letters + SAMPLES))
        level, seen = {states: ""}, {states}
        for _ in range(max_chars):
            following: dict[frozenset[int], str] = {}
            for current, text in level.items():
                if self._end in current:
                    return text
                for character in alphabet:
                    reached = self._step(current, character)
                    if reached and reached not in seen and len(seen) < MAX_VISITED:
                        seen.add(reached)
                        following[reached] = text + character
            level = following
        return next((text for current, text in level.items() if self._end in current), None)

    def _step(self, states: frozenset[int], character: str) -> frozenset[int]:
        reached = {target for state in states for test, target in self._states.steps[state] if test(character)}
        return self._free(reached)

    def _free(self, states: set[int]) -> frozenset[int]:
        waiting, found = list(states), set(states)
        while waiting:
            for target in self._states.free[waiting.pop()]:
                if target not in found:
                    found.add(target)
                    waiting.append(target)
        return frozenset(found)


@functools.lru_cache(512)
def read_pattern(source: str) -> Pattern | None:
    """None for what cannot be read."""
    try:
        return Pattern(source)
    except (UnreadPattern, RecursionError):
        return None


class _Reader:
    """Recursive descent over the source; every part gives the states it begins and ends with."""

    def __init__(self, source: str, states: _States) -> None:
        self._source = source
        self._at = 0
        self._states = states

    def read(self) -> tuple[int, int]:
        start, end = self._alternatives(is_top=True)
        if self._at < len(self._source):
            raise UnreadPattern("an unmatched bracket")
        return start, end

    def _alternatives(self, *, is_top: bool = False) -> tuple[int, int]:
        start, end = self._states.new(), self._states.new()
        while True:
            first, last = self._sequence(is_top)
            self._link(start, first)
            self._link(last, end)
            if not self._take("|"):
                return start, end

    def _sequence(self, is_top: bool) -> tuple[int, int]:
        start = last = self._states.new()
        anchored = self._take("^")
        if is_top and not anchored:
            self._states.steps[start].append((_anything, start))
        while self._at < len(self._source) and self._source[self._at] not in "|)":
            if self._take("$"):
                if self._at < len(self._source) and self._source[self._at] not in "|)":
                    raise UnreadPattern("an anchor in the middle")
                return start, last
            first, end = self._repeated()
            self._link(last, first)
            last = end
        if is_top:
            tail = self._states.new()
            self._link(last, tail)
            self._states.steps[tail].append((_anything, tail))
            last = tail
        return start, last

    def _repeated(self) -> tuple[int, int]:
        begun = self._at
        first, end = self._atom()
        sign = self._source[self._at : self._at + 1]
        bounds = re.compile(r"\{(\d+)(,?)(\d*)\}").match(self._source, self._at)
        if sign and sign in "*+?":
            self._at += 1
            least, most = (1 if sign == "+" else 0), (1 if sign == "?" else None)
        elif bounds:
            self._at = bounds.end()
            least = int(bounds[1])
            most = (int(bounds[3]) if bounds[3] else None) if bounds[2] else least
        else:
            return first, end
        self._take("?")  # lazy or greedy: the same strings
        behind = self._at
        result = self._copies(begun, least, most)
        self._at = behind
        return result

    def _copies(self, begun: int, least: int, most: int | None) -> tuple[int, int]:
        """The part that begins at `begun` of the source, read again for each copy."""
        start = last = self._states.new()
        for index in range(least if most is None else most):
            first, end = self._again(begun)
            self._link(last, first)
            if index >= least:
                self._link(first, end)
            last = end
        if most is None:
            first, end = self._again(begun)
            loop = self._states.new()
            self._link(last, loop)
            self._link(loop, first)
            self._link(end, loop)
            last = loop
        return start, last

    def _again(self, begun: int) -> tuple[int, int]:
        self._at = begun
        return self._atom()

    def _atom(self) -> tuple[int, int]:
        if self._take("("):
            if self._take("?") and not self._take(":"):
                raise UnreadPattern("look-around or flags")
            inner = self._alternatives()
            if not self._take(")"):
                raise UnreadPattern("an open group")
            return inner
        start, end = self._states.new(), self._states.new()
        self._states.steps[start].append((self._test(), end))
        return start, end

    def _test(self) -> Test:
        sign = self._source[self._at]
        if sign == "[":
            closing = re.compile(r"\[\^?\]?(?:\\.|[^\]\\])*\]", re.DOTALL).match(self._source, self._at)
            if closing is None:
                raise UnreadPattern("an open class")
            self._at = closing.end()
            return _matcher(closing[0])
        if sign == "\\":
            escaped = re.compile(r"\\(?:x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|.)", re.DOTALL).match(self._source, self._at)
            if escaped is None or escaped[0][1] in "bBAzZkpP123456789":
                raise UnreadPattern("a border, a reference or a category")
            self._at = escaped.end()
            return _matcher(escaped[0])
        if sign in "*+?^":
            raise UnreadPattern("nothing to repeat")
        self._at += 1
        return _no_line_end if sign == "." else functools.partial(str.__eq__, sign)

    def _take(self, sign: str) -> bool:
        found = self._source.startswith(sign, self._at)
        self._at += found
        return found

    def _link(self, source: int, target: int) -> None:
        self._states.free[source].append(target)


def _matcher(source: str) -> Test:
    """One class or escape, tested by the standard library, which reads these the same way (in ASCII)."""
    try:
        compiled = re.compile(source, re.ASCII)
    except re.error as error:
        raise UnreadPattern(str(error)) from None
    return lambda character: compiled.fullmatch(character) is not None


def _anything(_: str) -> bool:
    return True


def _no_line_end(character: str) -> bool:
    return character != "\n"


def factors_of(schema: object) -> Iterator[int]:
    """Whole numbers that a schema's numbers must be multiples of."""
    for value in _objects(schema):
        if isinstance(factor := value.get("multipleOf"), int) and factor > 0:
            yield factor


def required_of(schema: object) -> Iterator[str]:
    """Names that a schema's objects must have."""
    for value in _objects(schema):
        if isinstance(names := value.get("required"), list):
            yield from (name for name in names if isinstance(name, str))


def patterns_of(schema: object) -> Iterator[str]:
    """Every pattern that a schema names, formats as patterns."""
    for value in _objects(schema):
        if isinstance(value.get("pattern"), str):
            yield value["pattern"]
        if isinstance(value.get("format"), str) and value["format"] in FORMATS:
            yield FORMATS[value["format"]]
        named = value.get("patternProperties")
        if isinstance(named, dict):
            yield from named


def _objects(schema: object) -> Iterator[dict[str, Any]]:
    """Every object in it, in the order they are written: an answer's strings come in that order."""
    waiting = [schema]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            yield value
            waiting += reversed(list(value.values()))
        elif isinstance(value, list):
            waiting += reversed(value)
