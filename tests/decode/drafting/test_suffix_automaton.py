"""The automaton against a search by hand."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from vortex.decode.drafting.suffix_automaton import ROOT, SuffixAutomaton

TEXTS = st.integers(1, 4).flatmap(lambda size: st.lists(st.integers(0, size), max_size=30))


def occurs(part: list[int], text: list[int]) -> bool:
    return any(text[start : start + len(part)] == part for start in range(len(text) - len(part) + 1))


@settings(max_examples=60)
@given(TEXTS)
def test_the_longest_end_that_occurred_before(text):
    automaton = SuffixAutomaton()
    for size in range(1, len(text) + 1):
        automaton.extend(text[size - 1 : size])
        length, place = automaton.longest_match()
        longest = max(n for n in range(size) if occurs(text[size - n : size], text[: size - 1]))
        assert length == longest
        if length:
            assert place < size
            assert text[place - length : place] == text[size - length : size]


@settings(max_examples=60)
@given(TEXTS, TEXTS, st.integers(0, 30))
def test_another_text_is_followed_while_the_first_one_grows(text, other, grown_at):
    automaton = SuffixAutomaton()
    automaton.extend(text[:grown_at])
    state, length, known = ROOT, 0, text[:grown_at]
    for size in range(1, len(other) + 1):
        if size == len(other) // 2:
            automaton.extend(text[grown_at:])
            known = text
        state, length = automaton.step(state, length, other[size - 1])
        end = other[size - length : size]
        assert occurs(end, known)
        if length:
            assert known[automaton.place(state) - length : automaton.place(state)] == end
    if grown_at >= len(text):  # nothing was added on the way, so the match is the longest there is
        assert length == max(n for n in range(len(other) + 1) if occurs(other[len(other) - n :], text))


def test_a_recent_place_is_found_and_a_circle_goes_on():
    automaton = SuffixAutomaton()
    automaton.extend([1, 2, 3, 9, 1, 2, 4, 9, 1, 2])
    length, place = automaton.longest_match()
    assert (length, place) == (3, 6)
    assert automaton.continuation(place, 3) == [4, 9, 1]
    assert automaton.continuation(8, 5) == [1, 2, 1, 2, 1]
    assert automaton.continuation(9, 4, behind=[7]) == [2, 7, 2, 7]
    assert automaton.continuation(10, 3, behind=[7, 8]) == [7, 8, 7]
    assert automaton.continuation(10, 3) == []
