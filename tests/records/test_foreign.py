"""What a stranger's file says: of the type asked for and within bounds, or one line that names file, key and value."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import pytest

from vortex.errors import ModelFileError
from vortex.records.foreign import ForeignValues, read_json


def values(**pairs: Any) -> ForeignValues:
    return ForeignValues(pairs, "f.json")


@pytest.mark.parametrize("value", [True, "3", None, [3], {}, 3.5, math.nan, math.inf, -1, 11, 10**400])
def test_what_is_no_whole_number_within_bounds_is_one_line(value: Any) -> None:
    with pytest.raises(ModelFileError, match=r"f\.json.* n") as caught:
        values(n=value).whole("n", least=0, most=10)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("value", [True, "3", [3], math.nan, math.inf, -1.0, 11, 10**400])
def test_what_is_no_finite_number_within_bounds_is_one_line(value: Any) -> None:
    with pytest.raises(ModelFileError, match=r"f\.json says n is"):
        values(n=value).real("n", least=0, most=10)


def test_good_values_come_back_in_their_type() -> None:
    found = values(n=3.0, x=2, t="a", b=False, l=["a"], w=[1, 2], r=[1, 0.5])
    assert found.whole("n") == 3
    assert isinstance(found.whole("n"), int)
    assert isinstance(found.real("x"), float)
    assert (found.text("t"), found.flag("b", True), found.texts("l")) == ("a", False, ["a"])
    assert (found.wholes("w"), found.reals("r"), found.whole("absent", 7)) == ([1, 2], [1.0, 0.5], 7)


OTHER_TYPES = [("text", 1), ("flag", 1), ("texts", "ab"), ("wholes", [1, "2"]), ("reals", [math.nan])]


@pytest.mark.parametrize(("reader", "value"), [*OTHER_TYPES, ("items_of", {"a": 1}), ("nested", [1])])
def test_other_types_are_named(reader: str, value: Any) -> None:
    arguments = [False] if reader == "flag" else []
    with pytest.raises(ModelFileError, match=r"f\.json says k"):
        getattr(values(k=value), reader)("k", *arguments)


def test_lists_and_texts_have_a_longest() -> None:
    with pytest.raises(ModelFileError, match="at most 2"):
        values(k=[1, 2, 3]).items_of("k", most=2)
    with pytest.raises(ModelFileError, match="at most 2"):
        values(k=["abc"]).texts("k", longest=2)


def test_unread_keys_are_known_under_a_prefix_too() -> None:
    found = ForeignValues({"a.x": 1, "a.y": 2, "b": 3, "a.z": None}, "f")
    assert found.under("a.").whole("x") == 1
    assert found.unread() == ["a.y", "b"]
    assert found.under("a.").unread() == ["a.y"]


@pytest.mark.parametrize("text", ["[" * 100_000 + "]" * 100_000, '{"a": ', "\xff", "9" * 5000])
def test_json_of_any_kind_is_one_line(text: str) -> None:
    with pytest.raises(ModelFileError, match=r"f is not valid JSON"):
        read_json(text.encode("latin-1"), "f")


@dataclass(frozen=True)
class _Shape:
    rows: int
    scale: float = 1.0
    name: str = ""
    on: bool = False


def test_fields_of_a_dataclass_by_their_types() -> None:
    assert _Shape(**values(rows=2, on=True).fields_of(_Shape)) == _Shape(2, on=True)
    for wrong in ({"rows": "2"}, {}, {"rows": 1, "scale": math.inf}, {"rows": 1, "other": 2}, {"rows": 1, "name": 3}):
        with pytest.raises(ModelFileError, match=r"f\.json"):
            values(**wrong).fields_of(_Shape)
