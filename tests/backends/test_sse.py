"""Events do not depend on where the network cuts their bytes."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vortex.backends.sse import EVENT_LIMIT_BYTES, SseParser
from vortex.errors import BackendError

STREAM = ': ping\n\nevent: x\ndata: {"a":"é"}\n\ndata: one\ndata: two\r\n\r\ndata:[DONE]\n\n'.encode()


@given(st.lists(st.integers(0, len(STREAM)), max_size=12))
def test_any_cutting_gives_the_same_events(cuts: list[int]) -> None:
    parser = SseParser()
    edges = [0, *sorted(cuts), len(STREAM)]
    events = [event for a, b in itertools.pairwise(edges) for event in parser.feed(STREAM[a:b])]
    assert events == ['{"a":"é"}'.encode(), b"one\ntwo", b"[DONE]"]


def test_an_endless_event_is_an_error() -> None:
    with pytest.raises(BackendError):
        SseParser().feed(b"data: " + b"x" * EVENT_LIMIT_BYTES)
