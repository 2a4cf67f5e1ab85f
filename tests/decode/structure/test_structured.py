"""Structured answers are valid by construction: whatever the sampler would like, and however few tokens it gets."""

from __future__ import annotations

import functools
import json
import re

import jsonschema
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vortex.decode.constraint import TokenConstraint, allowed_tokens
from vortex.decode.forms.families import HERMES
from vortex.decode.forms.reader import FormReader
from vortex.decode.structure.structured import StructuredDecoding
from vortex.decode.structure.tool_grammar import OPENING
from vortex.errors import RequestError
from vortex.tokenizer.byte_tokenizer import ByteTokenizer
from vortex.types import ChatRequest, ChoiceFinished, FinishReason, TextDelta, ToolCallDelta, ToolSpec

PHRASES = '"} "] }] }} "" {" ": ":_" ",_" ,_" name "name <tool_call> </tool_call>\\n >\\n ool </ null lorem_ 20'
PHRASES = [
    phrase.replace("\\n", "\n").replace("_", " ").replace("tool call", "tool_call") for phrase in PHRASES.split()
]


class PhraseTokenizer(ByteTokenizer):
    """Bytes, and some phrases as tokens of their own: tokens that cross a grammar's borders."""

    def __init__(self) -> None:
        self._phrases = [phrase.encode() for phrase in PHRASES]

    @property
    def vocab_size(self) -> int:
        return super().vocab_size + len(self._phrases)

    def token_bytes(self, token_id: int) -> bytes:
        first = super().vocab_size
        return self._phrases[token_id - first] if token_id >= first else super().token_bytes(token_id)

    def decode(self, token_ids, *, special: bool = False) -> str:
        plain = [i for i in token_ids if special or i < 256 or i >= super(PhraseTokenizer, self).vocab_size]
        return b"".join(map(self.token_bytes, plain)).decode(errors="replace")


TOKENIZER = PhraseTokenizer()
STRUCTURED = StructuredDecoding(TOKENIZER)


def an_object(required: int | None = None, **properties: object) -> dict:
    """With the first `required` of its properties required, by default all."""
    return {"type": "object", "properties": properties, "required": list(properties)[:required]}


TEXT = {"type": "string"}
PERSON = an_object(name=TEXT, age={"type": "integer", "minimum": 0})
NODE = an_object(value={"type": "number"}, next={"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]})
SCHEMAS = {
    "any object": {},
    "person": PERSON,
    "enum": an_object(unit={"enum": ["celsius", "fahrenheit", "k"]}),
    "array": {"type": "array", "items": PERSON, "minItems": 2, "maxItems": 4},
    "optional": an_object(1, b={"type": "boolean"}, a=PERSON),
    "any of": {"anyOf": [{"type": "null"}, an_object(**dict.fromkeys("abcdefgh", TEXT))]},
    "recursive": {"$ref": "#/$defs/node", "$defs": {"node": NODE}},
    "pattern": an_object(mail={"type": "string", "pattern": "^[a-z]+@[a-z]+\\.com$"}),
    "date": an_object(at={"type": "string", "format": "date-time"}),
    "long string": an_object(s={"type": "string", "minLength": 30}),
    "all of": {"allOf": [PERSON, an_object(id={"type": "integer"})]},
}
TOOLS = (ToolSpec(name="weather", parameters=an_object(city=TEXT)), ToolSpec(name="stop"))


SEEDS = st.integers(0, 10**6)


def ask(**fields) -> ChatRequest:
    return ChatRequest(request_id="r", prompt="p", **fields)


def answer(constraint: TokenConstraint | None, max_tokens: int, seed: int, likes: str = "") -> str:
    """What a model would write that likes everything at random, and the tokens of `likes` above all."""
    draw = np.random.default_rng(seed)
    scores = np.where([TOKENIZER.token_bytes(i) in likes.encode() for i in range(TOKENIZER.vocab_size)], 3.0, 0.0)
    written: list[int] = []
    for _ in range(max_tokens):
        mask = constraint.mask()
        allowed = np.ones(TOKENIZER.vocab_size, bool) if mask is None else allowed_tokens(mask, TOKENIZER.vocab_size)
        wishes = np.where(allowed, scores + draw.gumbel(size=len(allowed)), -np.inf)
        token_id = constraint.settle(int(wishes.argmax()))
        constraint.advance(token_id)
        if token_id in TOKENIZER.end_ids:
            break
        written.append(token_id)
        if constraint.is_finished:
            break
    return TOKENIZER.decode(written)


@functools.cache
def shortest_json(name: str) -> int:
    return 2 if name in ("any object", "any of") else shortest(json_schema=SCHEMAS[name])


@functools.cache
def shortest_calls(choice: str) -> int:
    return shortest(tools=TOOLS, tool_choice=choice)


def shortest(**fields) -> int:
    """The least limit that is accepted, read off the refusal of a smaller one."""
    with pytest.raises(RequestError, match="shortest valid answer has") as refusal:
        STRUCTURED.constrain(ask(**fields), 1)
    assert refusal.value.param == "max_tokens"
    return int(re.search(r"has (\d+) tokens", str(refusal.value))[1])


@pytest.mark.parametrize("name", SCHEMAS)
@settings(max_examples=8, deadline=None)
@given(seed=SEEDS, spare=st.sampled_from([0, 1, 2, 5, 12, 40, 150]), likes=st.sampled_from(["", "lorem a", '{"[,']))
def test_every_answer_fits_its_schema_whatever_the_limit(name: str, seed: int, spare: int, likes: str) -> None:
    schema = SCHEMAS[name]
    least = shortest_json(name)
    request = ask(json_schema=schema)
    text = answer(STRUCTURED.constrain(request, least + spare), least + spare, seed, likes)
    jsonschema.validate(json.loads(text), schema or {"type": "object"})


@settings(max_examples=15, deadline=None)
@given(seed=SEEDS, spare=st.integers(0, 60), choice=st.sampled_from(["required", "weather"]))
def test_required_calls_are_calls_and_nothing_else(seed: int, spare: int, choice: str) -> None:
    request = ask(tools=TOOLS, tool_choice=choice)
    limit = shortest_calls(choice) + spare
    text = answer(STRUCTURED.constrain(request, limit), limit, seed)
    for call in calls_in(text):
        assert call["name"] == "weather" or choice == "required"


def calls_in(text: str) -> list[dict]:
    """Valid calls; there is at least one, and no text that looks like another."""
    reader = FormReader(ask(tools=TOOLS), HERMES)
    events = [
        *reader.read(TextDelta(choice=0, text=text)),
        *reader.read(ChoiceFinished(choice=0, reason=FinishReason.STOP)),
    ]
    assert events[-1].reason is FinishReason.TOOL_CALLS
    assert OPENING not in "".join(event.text for event in events if isinstance(event, TextDelta))
    deltas = [event for event in events if isinstance(event, ToolCallDelta)]
    calls = [{"name": delta.name, "arguments": ""} for delta in deltas if delta.id]
    for delta in deltas:
        calls[delta.index]["arguments"] += delta.arguments
    for call in calls:
        tool = next(tool for tool in TOOLS if tool.name == call["name"])
        jsonschema.validate(json.loads(call["arguments"]), tool.parameters or {"maxProperties": 0})
    return calls


@settings(max_examples=25, deadline=None)
@given(seed=SEEDS, limit=st.integers(1, 120))
def test_free_answers_may_hold_calls_but_no_broken_ones(seed: int, limit: int) -> None:
    constraint = STRUCTURED.constrain(ask(tools=TOOLS, tool_choice="auto"), limit)
    text = answer(constraint, limit, seed, likes="<tool_call>")
    if OPENING in text:
        calls_in(text)


def test_one_call_where_calls_may_not_be_parallel() -> None:
    for seed in range(5):
        request = ask(tools=TOOLS, tool_choice="required", parallel_tool_calls=False)
        assert len(calls_in(answer(STRUCTURED.constrain(request, 400), 400, seed))) == 1


def test_a_copy_goes_its_own_way() -> None:
    first = STRUCTURED.constrain(ask(json_schema=PERSON), 100)
    before = first.mask().copy()
    twin = first.copy()
    twin.advance(int(np.flatnonzero(allowed_tokens(twin.mask(), TOKENIZER.vocab_size))[0]))
    np.testing.assert_array_equal(first.mask(), before)


def test_what_cannot_be_a_grammar_is_refused() -> None:
    for schema in ({"type": "martian"}, {"$ref": "#/$defs/nowhere"}, {"type": "string", "pattern": "("}):
        with pytest.raises(RequestError) as refusal:
            STRUCTURED.constrain(ask(json_schema=schema), 100)
        assert refusal.value.param == "response_format"
    assert STRUCTURED.constrain(ask(), 100) is None
    assert STRUCTURED.constrain(ask(tools=TOOLS, tool_choice="none"), 100) is None
