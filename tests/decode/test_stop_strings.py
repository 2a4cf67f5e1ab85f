"""Stop strings against the naive reading of the whole text."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import example, given
from hypothesis import strategies as st

from vortex.decode.stop_strings import StopMatcher

TEXT = st.text(alphabet="abñ😀", max_size=30)
STOPS = st.lists(st.text(alphabet="abñ😀", min_size=1, max_size=5), max_size=4)


def naive(text: str, stops: list[str]) -> tuple[str, bool]:
    for end in range(1, len(text) + 1):
        ending = [stop for stop in stops if text[:end].endswith(stop)]
        if ending:
            return text[: end - max(map(len, ending))], True
    return text, False


@given(TEXT, STOPS, st.lists(st.integers(0, 30)))
@example("aab", ["ab"], [1, 2])
@example("abab", ["b", "aba"], [1, 2, 3])
def test_any_cutting_gives_what_the_whole_text_gives(text, stops, cuts):
    edges = sorted({0, len(text), *(min(cut, len(text)) for cut in cuts)})
    matcher = StopMatcher(stops)
    out = ""
    for start, end in pairwise(edges):
        out += matcher.push(text[start:end])
        if not matcher.stopped:
            assert out + matcher.held == text[:end]
            assert not matcher.held or any(stop.startswith(matcher.held) and stop != matcher.held for stop in stops), (
                "held text must still be able to become a stop string"
            )
    out += matcher.flush()
    assert (out, matcher.stopped) == naive(text, stops)


def test_nothing_follows_a_stop():
    matcher = StopMatcher(["END"])
    assert matcher.push("xE") == "x"
    assert matcher.push("ND more") == ""
    assert matcher.push("more") == ""
    assert matcher.flush() == ""
    assert matcher.stopped
