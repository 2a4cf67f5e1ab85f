"""Schemas of every kind that clients send: an answer for each, or a refusal that names the keyword; nobody waits."""

from __future__ import annotations

import json

import jsonschema
import pytest

from tests.decode.structure.test_structured import STRUCTURED, TEXT, an_object, answer, ask
from vortex.decode.structure.closing import Closing
from vortex.decode.structure.grammar import CARRY_SEARCH_STEPS, GrammarConstraint
from vortex.decode.structure.json_place import MAX_DIGITS
from vortex.decode.structure.patterns import FORMATS, read_pattern
from vortex.errors import RequestError
from vortex.types import ToolSpec


def text(**keywords: object) -> dict:
    return {"type": "string", **keywords}


FORMATTED = {name: an_object(value=text(format=name)) for name in sorted(FORMATS)}
LOOPING = {
    "digits then letters": text(pattern=r"^\d+px$"),
    "anything then a suffix": text(pattern=r"^.+\.py$"),
    "anything then a long suffix": text(pattern="^.*error: timeout$"),
    "letters, at least 40": text(pattern="^[a-z]+$", minLength=40),
    "a longer text": text(minLength=100),
    "mail or null": {"anyOf": [text(format="email"), {"type": "null"}]},
    "thirty addresses": {"type": "array", "items": text(format="uri"), "minItems": 30},
    "twenty patterns": an_object(**{f"p{i}": text(pattern=f"^a{i}.*b[0-9]+c$") for i in range(20)}),
    "the last of many patterns": {
        "type": "object",
        "properties": {f"p{i}": text(pattern=f"^a{i}.*b[0-9]+c$") for i in range(200)},
        "required": ["p0", "p199"],
    },
    "two hundred kinds": {"anyOf": [an_object(1, kind={"const": f"k{i}"}, a=TEXT, b=TEXT) for i in range(200)]},
    "two thousand words": {"enum": [f"value number {i} of many" for i in range(2000)]},
    "multiples": {"type": "integer", "multipleOf": 7919, "minimum": 1},
    "quarters": {"type": "number", "multipleOf": 0.25, "minimum": 100},
    "required and undeclared": {"type": "object", "properties": {"a": {}}, "required": ["b"]},
    "names of a pattern": {"type": "object", "propertyNames": {"pattern": "^[a-z]+$"}, "minProperties": 1},
    "two parts as one": {
        "allOf": [{"$ref": "#/$defs/a"}, {"$ref": "#/$defs/b"}],
        "$defs": {"a": an_object(x=TEXT), "b": an_object(y={"type": "integer"})},
    },
    "a union by a name": {"oneOf": [an_object(kind={"const": kind}, value=TEXT) for kind in ("a", "b")]},
    "an annotation": text(format="color", title="t", examples=["x"], deprecated=True),
}


@pytest.mark.parametrize("name", [*FORMATTED, *LOOPING])
def test_an_answer_comes_at_once_and_fits(name: str) -> None:
    schema = {**FORMATTED, **LOOPING}[name]
    with pytest.raises(RequestError, match="shortest valid answer has") as refusal:
        STRUCTURED.constrain(ask(json_schema=schema), 0)
    least = int(str(refusal.value).split("answer has ")[1].split()[0])
    for seed, spare in ((1, 0), (2, 7), (3, 60)):
        written = answer(STRUCTURED.constrain(ask(json_schema=schema), least + spare), least + spare, seed)
        jsonschema.validate(json.loads(written), schema)


UNENFORCED = {
    "uniqueItems": {"type": "array", "uniqueItems": True},
    "not": {"not": TEXT},
    "if": {"if": TEXT, "then": {"minLength": 3}},
    "dependentRequired": {"type": "object", "dependentRequired": {"a": ["b"]}},
    "contains": {"type": "array", "contains": TEXT},
    "oneOf": {"oneOf": [TEXT, text(minLength=3)]},
    "pattern": text(pattern="^(?=a)b$"),
    "type": {"type": "any"},
    "minimum": {"type": "integer", "minimum": 1e300},
    "required": {"type": "object", "properties": {"a": TEXT}, "required": ["b"], "additionalProperties": False},
    "$ref": {"$ref": "http://elsewhere/x"},
    "enum": {"enum": []},
    "allOf": {"allOf": [{"anyOf": [text(pattern=f"{c}{d}") for d in "abc"]} for c in "abcdefgh"]},
    "items": {"type": "array", "items": "string"},
}


@pytest.mark.parametrize("keyword", UNENFORCED)
def test_what_cannot_be_enforced_is_said_or_refused_by_name(keyword: str) -> None:
    schema = UNENFORCED[keyword]
    with pytest.raises(RequestError, match=f"'{keyword}'".replace("$", "\\$")) as refusal:
        STRUCTURED.constrain(ask(json_schema=schema, strict_schema=True), 300)
    assert refusal.value.code == "invalid_schema"
    assert "start:" not in str(refusal.value), "no insides of the grammar"
    weaker = STRUCTURED.constrain(ask(json_schema=schema, strict_schema=False), 300)
    assert isinstance(weaker, GrammarConstraint)
    assert any(f"'{keyword}'" in note for note in weaker.notes)
    json.loads(answer(weaker, 300, 1))
    tools = (ToolSpec(name="odd", parameters=schema), ToolSpec(name="plain", parameters=an_object(city=TEXT)))
    free = STRUCTURED.constrain(ask(tools=tools, tool_choice="auto"), 300)
    assert any(note.startswith("tool 'odd'") for note in free.notes)


def test_a_required_null_and_booleans_are_no_fault() -> None:
    for schema in ({"type": "object", "properties": {"a": {}}, "required": None}, {"properties": {"a": True}}):
        assert STRUCTURED.constrain(ask(json_schema=schema), 100).notes == ()


@pytest.mark.parametrize("schema", [
    {"type": "array", "items": {"type": "integer"}, "minItems": 100_000},
    text(minLength=10**9),
])  # fmt: skip
def test_what_nobody_could_write_is_refused_within_its_time(schema: dict) -> None:
    with pytest.raises(RequestError, match="lower minItems and minLength"):
        STRUCTURED.constrain(ask(json_schema=schema), 500)


def test_behind_the_first_token_a_search_has_its_steps_and_no_more() -> None:
    class Patient(Closing):
        asked: list[int] = []  # noqa: RUF012  # shared on purpose

        def way_out(self, standing, *, max_steps, known=b"", thorough=False):
            self.asked.append(max_steps)
            return super().way_out(standing, max_steps=max_steps, known=known, thorough=thorough)

    constraint = STRUCTURED.constrain(ask(json_schema=LOOPING["twenty patterns"]), 300)
    constraint._closing = Patient(constraint._closing._hints)
    answer(constraint, 300, 5)
    assert set(Patient.asked) == {CARRY_SEARCH_STEPS}


def test_nothing_is_compiled_when_a_call_opens(monkeypatch: pytest.MonkeyPatch) -> None:
    tools = (ToolSpec(name="mail", parameters=an_object(to=text(format="email"))),)
    constraint = STRUCTURED.constrain(ask(tools=tools, tool_choice="auto"), 200)
    monkeypatch.setattr(STRUCTURED._vocabulary, "matcher", None)
    monkeypatch.setattr(STRUCTURED._vocabulary, "bytes_matcher", None)
    written = answer(constraint, 200, 3, likes="<tool_call>")
    assert "<tool_call>" in written
    assert '"arguments": {"to": "' in written


def test_an_answer_or_a_call_where_both_are_asked_for() -> None:
    tools = (ToolSpec(name="look", parameters=an_object(at=TEXT)),)
    kinds = set()
    for seed in range(12):
        request = ask(json_schema=an_object(done={"type": "boolean"}), tools=tools, tool_choice="auto")
        written = answer(STRUCTURED.constrain(request, 120), 120, seed, likes="<" if seed % 2 else "{")
        kinds.add(written[0])
        if written[0] == "{":
            assert isinstance(json.loads(written)["done"], bool)
    assert kinds == {"{", "<"}


@pytest.mark.parametrize("kind", ["integer", "number"])
def test_numbers_end(kind: str) -> None:
    for seed in range(20):
        written = answer(STRUCTURED.constrain(ask(json_schema={"type": kind}), 400), 400, seed, likes="0123456789")
        assert len(written.lstrip("-").lower().split("e")[0].replace(".", "")) <= MAX_DIGITS + 1, written
        assert abs(float(written)) < 1e300


def test_a_schema_is_searched_once(monkeypatch: pytest.MonkeyPatch) -> None:
    schema = an_object(once=text(pattern="^only once$"))
    STRUCTURED.constrain(ask(json_schema=schema), 100)
    monkeypatch.setattr(Closing, "way_out", None)
    STRUCTURED.constrain(ask(json_schema=schema), 100)


@pytest.mark.parametrize(("source", "written", "rest"), [
    (r"^\d+px$", "12", "px"), ("ab?c", "xa", "c"), ("^(foo|ba[rz])+$", "ba", "r"), ("^a{3}$", "a", "aa"),
    ("^[^@]+@x$", "", "x@x"), ("^a$", "b", None),
])  # fmt: skip
def test_patterns_are_finished_in_the_fewest_characters(source: str, written: str, rest: str | None) -> None:
    pattern = read_pattern(source)
    assert pattern is not None
    assert pattern.completion(written) == rest


def test_patterns_beyond_the_reader_are_none() -> None:
    for source in ("(?=a)b", r"(a)\1", r"\bx", "(", "[a", "*", "^([a-z]{1,300}){1,300}$"):
        assert read_pattern(source) is None
