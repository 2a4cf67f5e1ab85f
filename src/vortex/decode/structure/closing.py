"""The way out of a grammar: from where an answer stands, bytes after which it is valid, few of them.

A search over the grammar's own automaton, byte by byte: a matcher over single bytes is copied and moved in about a
microsecond. What is forced is followed; at forks between values every way is tried; a string that must not end yet is
brought to its end by its pattern, else breadth first. Every search has a deadline.

Promises that what is found is valid. Does not promise the very shortest.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from llguidance import LLMatcher

from vortex.decode.structure.json_place import MAX_DIGITS, QUOTE, JsonPlace
from vortex.decode.structure.patterns import read_pattern

LATEST_S = 10.0  # of the first search, whatever its steps take
PATTERN_STEPS = 10  # that a look at a pattern counts as
MAX_BYTES = 48 * 1024  # of a way out
MAX_FORKS = 12  # forks at which several ways are tried; beyond them the plainest is taken
WAYS = 6  # tried at a fork
FEW = 12  # allowed bytes that are a choice between values; more are the letters of a text
MAX_DEPTH = 24  # of a breadth-first search; a string that must be longer is filled up
MAX_VISITED = 4000
ALIKE = 3  # kept of a level's states after which the same bytes may follow
LONG_BYTES, FILL_BYTES = 512, 16
REJOINS = 96  # places of the last way out at which a new one may join it
ORDER = b'}],ntf0123456789-"[{'  # outside strings: what is likeliest to end soon
END_OF_NUMBER = frozenset(b",]} \n<")


@dataclass(frozen=True, slots=True)
class Hints:
    """What is known of a schema's values: patterns of strings, and numbers that others must be multiples of,
    names that objects must have."""

    patterns: tuple[str, ...] = ()
    factors: tuple[int, ...] = ()
    required: tuple[str, ...] = ()  # names of properties, in the order they are written

    def digits(self, written: bytes) -> Iterable[bytes]:
        """What could be written after `written` of a whole number so that it is a multiple."""
        if written.lstrip(b"-") and not written.lstrip(b"-").isdigit():
            return
        begun = int(written.lstrip(b"-") or b"0")
        for factor in self.factors:
            for more in range(MAX_DIGITS):
                least = -(-begun * 10**more // factor) * factor
                if written.lstrip(b"-") and 0 < least < (begun + 1) * 10**more:
                    yield str(least).encode()[len(str(begun)) :]
                elif not written.lstrip(b"-"):
                    yield str(-(-(10**more) // factor) * factor).encode()

    def ending(self, index: int, text: str) -> bytes | None:
        """What could be written after `text` so that a pattern is met and the string ends."""
        pattern = read_pattern(self.patterns[index])
        rest = None if pattern is None else pattern.completion(text)
        return None if rest is None else json.dumps(rest, ensure_ascii=False)[1:].encode()

    def letters(self) -> bytes:
        read = [pattern for source in self.patterns if (pattern := read_pattern(source)) is not None]
        text = "".join(dict.fromkeys("".join(pattern.letters for pattern in read)))
        return bytes(dict.fromkeys(text.encode()[:16] + b"a0@.:/-_ A"))


@dataclass(slots=True)
class Standing:
    """A place in an answer: the matcher over bytes, where in the JSON text it is, and the pattern that fitted last."""

    matcher: LLMatcher
    place: JsonPlace
    pattern: int = 0

    def copy(self) -> Standing:
        return Standing(self.matcher.deep_copy(), self.place.copy(), self.pattern)

    def push(self, data: bytes) -> bool:
        self.place.push(data)
        return bool(self.matcher.consume_tokens(list(data)))

    def allowed(self) -> bytes:
        """Bytes that may come next."""
        words = np.frombuffer(self.matcher.compute_bitmask(), dtype=np.uint8)
        return np.flatnonzero(np.unpackbits(words, bitorder="little")[:256]).astype(np.uint8).tobytes()

    def takes(self, data: bytes) -> bool:
        return bool(self.matcher.validate_tokens(list(data)) == len(data))


class Closing:
    """The search for one grammar. Safe to use from several threads."""

    def __init__(self, hints: Hints) -> None:
        self._hints = hints
        self._letters = hints.letters()

    def way_out(
        self, standing: Standing, *, max_steps: int, known: bytes = b"", thorough: bool = False
    ) -> bytes | None:
        """Bytes, maybe none, that bring a copy of `standing` to a valid end; None where none were found in the steps.

        known: a way out from a place shortly before, which the new one may join. thorough: try ways at forks.
        """
        search = _Search(self._hints, self._letters, max_steps)
        if known and (rest := search.rejoined(standing, known)) is not None:
            return rest
        way_out = search.walk(standing.copy(), MAX_FORKS if thorough else 0, MAX_BYTES, known)
        if search.first_pattern is not None:
            standing.pattern = search.first_pattern
        return way_out


class _Search:
    def __init__(self, hints: Hints, letters: bytes, max_steps: int) -> None:
        self._hints = hints
        self._letters = letters
        self._left_steps = max_steps
        self._kept_steps = max_steps // 2  # for one plain walk, whatever forks have taken
        self._deadline_s = time.perf_counter() + LATEST_S
        self.first_pattern: int | None = None  # that fitted
        self._is_filling = False  # the string under way has to be long

    @property
    def is_late(self) -> bool:
        return self._left_steps <= 0

    def _take_steps(self, count: int = 1) -> None:
        before = self._left_steps
        self._left_steps -= count
        if before // 64 != self._left_steps // 64:
            time.sleep(0)  # whoever waits for the interpreter (the engine's thread) goes first
            if time.perf_counter() > self._deadline_s:
                self._left_steps = 0

    def rejoined(self, standing: Standing, known: bytes) -> bytes | None:
        """The end of `known` that is a way out from here too."""
        for start in range(min(len(known), REJOINS)):
            rest = known[start:]
            if self.is_late:
                return None
            self._take_steps()
            if standing.takes(rest):
                after = standing.matcher.deep_copy()
                after.consume_tokens(list(rest))
                if after.is_accepting():
                    return rest
        return None

    def walk(self, standing: Standing, forks: int, limit_bytes: int, known: bytes = b"") -> bytes | None:
        """Moves `standing` to an end. Only the first `forks` forks try several ways."""
        out = bytearray()
        while not standing.matcher.is_accepting():
            self._take_steps()
            if len(out) > limit_bytes or self.is_late or standing.matcher.is_error():
                return None
            step = bytes(standing.matcher.compute_ff_bytes())
            if not step:
                allowed = standing.allowed()
                if not allowed:
                    return None
                found = self._required_key(standing)
                if found is None and forks and self._left_steps > self._kept_steps and self._is_fork(standing, allowed):
                    forks -= 1
                    found = self._best(standing, allowed, limit_bytes - len(out))
                found = found or self._step(standing, allowed)
                if found is None:
                    return None
                step = found
            if not standing.push(step):
                return None
            out += step
            if known and standing.place.string is None and (rest := self.rejoined(standing, known)) is not None:
                return bytes(out) + rest
        return bytes(out)

    def _is_fork(self, standing: Standing, allowed: bytes) -> bool:
        """Keys or values to choose from; the letters of a text and the digits of a number are none."""
        place = standing.place
        if place.string is not None:
            return QUOTE not in allowed and 1 < len(allowed) <= FEW and (place.is_key or not self._hints.patterns)
        return len(allowed) > 1 and not place.number and not set(b"}]") & set(allowed)

    def _best(self, standing: Standing, allowed: bytes, limit_bytes: int) -> bytes | None:
        """The first byte of the way whose plain continuation is shortest; the first of equals."""
        best: bytes | None = None
        for byte in _ordered(allowed, standing.place.string is not None)[:WAYS]:
            branch = standing.copy()
            rest = self.walk(branch, 0, limit_bytes - 1) if branch.push(bytes([byte])) else None
            if rest is not None and len(rest) + 1 < limit_bytes:
                best, limit_bytes = bytes([byte]), len(rest) + 1
            if self._left_steps <= self._kept_steps:
                break
        return best

    def _step(self, standing: Standing, allowed: bytes) -> bytes | None:
        """The next bytes on the way."""
        if standing.place.string is not None:
            if QUOTE in allowed:
                self._is_filling = False
                return b'"'
            ending = self._by_pattern(standing)
            found = None if self._is_filling else ending or self._breadth_first(standing, b'"')
            self._is_filling = found is None
            return found or self._filled(standing)
        in_number = bool(standing.place.number)
        if not END_OF_NUMBER.intersection(allowed) and (in_number or (b"0"[0] not in allowed and self._hints.factors)):
            digits = self._hints.digits(bytes(standing.place.number))
            ready = next((more for more in digits if more and self._ends_number(standing, more)), None)
            if ready or in_number:
                return ready or self._breadth_first(standing, bytes(END_OF_NUMBER)) or bytes([allowed[0]])
        return bytes([_ordered(allowed, False)[0]])

    def _required_key(self, standing: Standing) -> bytes | None:
        """The rest of a required property's name, where one may come: every other only lengthens the way."""
        if standing.place.string is None or not standing.place.is_key:
            return None
        begun = bytes(standing.place.string)
        for name in self._hints.required:
            spelled = json.dumps(name, ensure_ascii=False)[1:].encode()
            if spelled.startswith(begun) and standing.takes(spelled[len(begun) :]):
                return spelled[len(begun) :]
        return None

    def _by_pattern(self, standing: Standing) -> bytes | None:
        """The string's end by one of the schema's patterns, that of the last string or the next one first."""
        text = standing.place.text()
        if text is None:
            return None
        for turn in range(len(self._hints.patterns)):
            index = (standing.pattern + turn) % len(self._hints.patterns)
            self._take_steps(PATTERN_STEPS)
            ending = self._hints.ending(index, text)
            if ending is not None and standing.takes(ending):
                standing.pattern = index
                self.first_pattern = index if self.first_pattern is None else self.first_pattern
                return ending
            if self.is_late:
                break
        return None

    def _ends_number(self, standing: Standing, digits: bytes) -> bool:
        if not standing.takes(digits):
            return False
        branch = Standing(standing.matcher.deep_copy(), standing.place)
        branch.matcher.consume_tokens(list(digits))
        return branch.matcher.is_accepting() or bool(END_OF_NUMBER.intersection(branch.allowed()))

    def _breadth_first(self, standing: Standing, goal: bytes) -> bytes | None:
        """The fewest bytes after which one of `goal` may come (or the text end). Of states after which the same bytes
        may follow a few are kept on each level: they are mostly one state, and what is missed is found by filling."""
        level: list[tuple[Standing, bytes]] = [(standing.copy(), b"")]
        wanted, visited = frozenset(goal), 0
        for _ in range(MAX_DEPTH):
            following: list[tuple[Standing, bytes]] = []
            alike: dict[bytes, int] = {}
            for current, path in level:
                for byte in self._candidates(current):
                    visited += 1
                    self._take_steps()
                    if visited > MAX_VISITED or self.is_late:
                        return None
                    branch = Standing(current.matcher.deep_copy(), current.place)
                    if not branch.matcher.consume_token(byte):
                        continue
                    allowed = branch.allowed()
                    if wanted.intersection(allowed) or branch.matcher.is_accepting():
                        return path + bytes([byte])
                    alike[allowed] = alike.get(allowed, 0) + 1
                    if alike[allowed] <= ALIKE or current.place.number:
                        following.append((branch, path + bytes([byte])))
            level = following
        return None

    def _candidates(self, standing: Standing) -> bytes:
        allowed = standing.allowed()
        if len(allowed) <= 2 * FEW:
            return allowed
        return bytes(byte for byte in self._letters if byte in allowed) + allowed[-2:]

    def _filled(self, standing: Standing) -> bytes:
        """A string that has to be longer: one more letter, or some where it is long already."""
        letter = next((byte for byte in self._candidates(standing) if byte != ord("\\")), ord("a"))
        many = bytes([letter]) * FILL_BYTES
        is_long = len(standing.place.string or b"") > LONG_BYTES
        return many if is_long and standing.takes(many) else many[:1]


def _ordered(allowed: bytes, in_string: bool) -> Sequence[int]:
    """The likeliest to end soon first."""
    if in_string:
        return sorted(allowed, key=lambda byte: (byte != QUOTE, byte == ord("\\"), byte))
    return sorted(allowed, key=lambda byte: (_RANK.get(byte, len(ORDER)), byte))


_RANK = {byte: rank for rank, byte in enumerate(ORDER)}
