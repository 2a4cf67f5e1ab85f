"""What crosses between the caller and the supervisor comes back as it was, or is refused."""

from __future__ import annotations

import pytest

from vortex.sandbox.launch.plan import Plan
from vortex.sandbox.launch.values import decode, encode

ODD = {
    "none": None,
    "truth": [True, False, 1, 0],
    "numbers": [-(10**30), 1.5, 1e-05, float("inf"), -0.0],
    "texts": ["", "a:b", "línea\nnueva", "\udcff lone", "e", "7:x", "\0"],
    "deep": {"list": [[], {}, [{"x": [""]}]]},
}


def test_values_come_back_as_they_were() -> None:
    assert decode(encode(ODD)) == ODD
    assert [type(one) for one in decode(encode(ODD["truth"]))] == [bool, bool, int, int]


@pytest.mark.parametrize(
    "data", [b"", b"5:ab", b"i1", b"l", b"d1:ae", b"x", b"nn", b"i1eq", b"ie", b"r1.5", b"3:abcd", b"di1ene"]
)
def test_other_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"\S"):
        decode(data)


@pytest.mark.parametrize("value", [b"bytes", {1: "x"}, {"x": object()}, {1, 2}])
def test_other_values_are_refused(value: object) -> None:
    with pytest.raises(ValueError, match=r"\S"):
        encode(value)


def test_a_plan_is_whole_when_all_of_it_is_there() -> None:
    message = Plan({"tier": "landlock", "folder": "/a\nb"}).to_message()
    assert [end for end in range(len(message) + 1) if Plan.is_whole(message[:end])] == [len(message)]
    assert Plan.from_message(message).folder == "/a\nb"
    with pytest.raises(ValueError, match="dictionary"):
        Plan.from_message(b"2\nle")
