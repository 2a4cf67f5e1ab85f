"""A loop is told when it is one, and nothing else is."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from vortex.decode.loops import LEAST_ROUNDS, LEAST_TOKENS, MAX_PERIOD, LoopWatch, is_looping

CYCLES = st.lists(st.integers(0, 3), min_size=1, max_size=MAX_PERIOD)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 3), max_size=20), CYCLES, st.integers(0, 5 * MAX_PERIOD), st.lists(st.integers(0, 3)))
def test_the_watch_says_what_its_twin_says(before: list[int], cycle: list[int], length: int, after: list[int]) -> None:
    answer = before + (cycle * length)[:length] + after
    watch = LoopWatch()
    told = [watch.push(token_id) for token_id in answer]
    assert told == [is_looping(answer[: count + 1]) for count in range(len(answer))]


def test_a_loop_is_told_at_its_last_needed_token() -> None:
    for period in (1, 7, MAX_PERIOD):
        watch = LoopWatch()
        told = [watch.push(index % period) for index in range(8 * MAX_PERIOD)]
        assert told.index(True) == max(LEAST_TOKENS, LEAST_ROUNDS * period) - 1


def test_counting_and_long_rounds_are_no_loops() -> None:
    watch = LoopWatch()
    assert not any(watch.push(index) for index in range(1000))
    assert not any(watch.push(index % (MAX_PERIOD + 1)) for index in range(1000))
