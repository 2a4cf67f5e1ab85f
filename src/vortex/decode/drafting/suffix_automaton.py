"""All substrings of a growing text of tokens, in a form that knows the longest end of the text that occurred before.

Blumer et al.'s suffix automaton, built online: a token costs a few steps whatever the length of the text. Exact: the
reported match is the longest there is. Where it occurred several times, the place that is told is a recent one: places
are refreshed along a bounded part of the suffix links. Text is only added, never removed.

Takes about 300 bytes a token.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence

REFRESHED_LINKS = 12
ROOT = 0


class SuffixAutomaton:
    """`tokens`: the text so far. A state stands for strings that end at the same places of the text."""

    def __init__(self) -> None:
        self.tokens: array[int] = array("i")
        self._next: list[dict[int, int]] = [{}]
        self._link = [-1]  # the state of the longest end of a state's strings that occurs elsewhere too
        self._length = [0]  # of a state's longest string
        self._behind = [0]  # the position behind one of its occurrences, a recent one
        self._last = ROOT
        self._place = 0  # behind the last match, as it was before the newest token made a newer one

    def __len__(self) -> int:
        return len(self.tokens)

    def extend(self, token_ids: Iterable[int]) -> None:
        for token_id in token_ids:
            self._append(token_id)

    def longest_match(self) -> tuple[int, int]:
        """(length, place): the longest end of the text that occurred before, and the position behind that earlier
        occurrence. Length 0 where the last token is new."""
        state = self._link[self._last]
        return (self._length[state], self._place) if state > ROOT else (0, 0)

    def continuation(self, place: int, count: int, behind: Sequence[int] = ()) -> list[int]:
        """`count` tokens from position `place` of the text followed by `behind` and by what is given here itself: a
        text that goes round in a circle is continued round it. Fewer where `place` is the end of all that."""
        found: list[int] = self.tokens[place : place + count].tolist()
        first = place - len(self.tokens)  # of `behind`
        if len(found) < count:
            found += behind[max(first, 0) : max(first + count, 0)]
        first -= len(behind)  # of `found`
        if first < 0:
            while len(found) < count:
                found.append(found[first + len(found)])
        return found

    # --- matching another text against this one ----------------------------------------------------------------------

    def at_end(self) -> tuple[int, int]:
        """(state, length) of the whole text; (ROOT, 0) is that of no text."""
        return self._last, len(self.tokens)

    def step(self, state: int, length: int, token_id: int) -> tuple[int, int]:
        """The match after one more token of the other text: its longest end that occurs in this one."""
        while state != ROOT and length <= self._length[self._link[state]]:  # the state was split since
            state = self._link[state]
        while True:
            target = self._next[state].get(token_id)
            if target is not None:
                return target, length + 1
            if state == ROOT:
                return ROOT, 0
            state = self._link[state]
            length = self._length[state]

    def place(self, state: int) -> int:
        """The position behind an occurrence of the state's strings."""
        return self._behind[state]

    # --- building ----------------------------------------------------------------------------------------------------

    def _append(self, token_id: int) -> None:
        following, links, lengths, behind = self._next, self._link, self._length, self._behind
        self.tokens.append(token_id)
        position, state, fresh = len(self.tokens), self._last, len(links)
        following.append({})
        links.append(ROOT)
        lengths.append(position)
        behind.append(position)
        while state >= ROOT and token_id not in following[state]:
            following[state][token_id] = fresh
            state = links[state]
        if state >= ROOT:
            target = following[state][token_id]
            links[fresh] = target if lengths[state] + 1 == lengths[target] else self._split(state, token_id, target)
        self._last = fresh
        link = links[fresh]
        self._place = behind[link]
        for _ in range(REFRESHED_LINKS):  # the text's ends occur again: the next search shall find them here
            if link == ROOT:
                break
            behind[link] = position
            link = links[link]

    def _split(self, state: int, token_id: int, target: int) -> int:
        """A copy of `target` for the strings that also end behind `state`; what points to those points to it now."""
        following, links = self._next, self._link
        copy = len(links)
        following.append(dict(following[target]))
        links.append(links[target])
        self._length.append(self._length[state] + 1)
        self._behind.append(self._behind[target])
        while state >= ROOT and following[state].get(token_id) == target:
            following[state][token_id] = copy
            state = links[state]
        links[target] = copy
        return copy
