"""A budget ends the thinking cleanly; what holds for the answer begins behind it."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from vortex.decode.constraint import TokenConstraint, allowed_tokens
from vortex.decode.forms.families import HERMES, THINK
from vortex.decode.structure.structured import StructuredDecoding
from vortex.tokenizer.byte_tokenizer import ByteTokenizer
from vortex.types import ChatMessage, ChatRequest, ToolSpec

TOKENIZER = ByteTokenizer()
STRUCTURED = StructuredDecoding(TOKENIZER, replace(HERMES, thinking=(THINK,)))
OPENED = "assistant\n<think>\n"
NAME = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
ASKED = ChatRequest(request_id="r", messages=(ChatMessage(role="user", content="x"),))


def written(constraint: TokenConstraint, wanted: str, limit: int) -> str:
    """What comes of it where the model wants to write `wanted` for ever, copied midway."""
    text: list[int] = []
    for place in range(limit):
        mask = constraint.mask()
        token = wanted.encode()[place % len(wanted)]
        if mask is not None:
            allowed = np.flatnonzero(allowed_tokens(mask, TOKENIZER.vocab_size))
            token = token if token in allowed else int(allowed[-1] if ord('"') not in allowed else ord('"'))
        token = constraint.settle(token)
        constraint.advance(token)
        constraint = constraint.copy() if place == limit // 2 else constraint
        if token in TOKENIZER.end_ids:
            break
        text.append(token)
        if constraint.is_finished:
            break
    return bytes(text).decode()


def test_a_budget_ends_thinking_that_never_ends() -> None:
    constraint = STRUCTURED.constrain(replace(ASKED, thinking_tokens=5), 40, OPENED)
    assert constraint is not None
    assert written(constraint, "m", 40) == "mmmmm\n</think>\n\n" + "m" * 24


def test_thinking_that_the_model_opens_itself_has_the_budget_too() -> None:
    constraint = STRUCTURED.constrain(replace(ASKED, thinking_tokens=3), 60, "assistant\n")
    assert constraint is not None
    text = written(constraint, "<think>hmhmhmhmhmhmhmhmhmhmhmhmhm", 40)
    assert text.startswith("<think>hmh\n</think>\n\n")


def test_thinking_that_ends_by_itself_is_left_alone() -> None:
    constraint = STRUCTURED.constrain(replace(ASKED, thinking_tokens=20), 40, OPENED)
    assert constraint is not None
    assert written(constraint, "ok</think>yes!yes!yes!yes!yes!yes!yes!", 30) == "ok</think>yes!yes!yes!yes!yes!"


@pytest.mark.parametrize("limit", [40, 60, 90])
def test_a_schema_holds_behind_the_thinking_and_gets_its_room(limit: int) -> None:
    constraint = STRUCTURED.constrain(replace(ASKED, json_schema=NAME), limit, OPENED)
    assert constraint is not None
    thought, _, answer = written(constraint, "m", limit).partition("</think>")
    assert thought.strip("m\n") == ""
    assert isinstance(json.loads(answer)["name"], str)


def test_calls_that_must_come_come_behind_the_thinking() -> None:
    request = replace(ASKED, tools=(ToolSpec(name="look"),), tool_choice="required", thinking_tokens=4)
    constraint = STRUCTURED.constrain(request, 120, OPENED)
    assert constraint is not None
    assert written(constraint, "m", 120).partition("</think>")[2].strip().startswith("<tool_call>")


def test_models_that_do_not_think_are_not_watched() -> None:
    plain = StructuredDecoding(TOKENIZER)
    assert plain.constrain(replace(ASKED, thinking_tokens=4), 40, OPENED) is None
    assert plain.read_answer(ASKED, OPENED) is None
