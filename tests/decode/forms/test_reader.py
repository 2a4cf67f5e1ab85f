"""Calls are read out of text however it is cut, and text that is no call stays text."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vortex.decode.forms.families import HERMES
from vortex.decode.forms.reader import FormReader
from vortex.types import ChatRequest, ChoiceFinished, FinishReason, TextDelta, ToolCallDelta, ToolSpec

TOOLS = (ToolSpec(name="f"), ToolSpec(name="g"))
CALL_F = '<tool_call>\n{"name": "f", "arguments": {"a": "}\\"{", "b": [{}]}}\n</tool_call>'
CALL_G = '<tool_call>{"name": "g", "arguments": {}}</tool_call>'


def read(
    pieces: list[str], reason: FinishReason = FinishReason.STOP
) -> tuple[str, list[tuple[str, str]], FinishReason]:
    """Text, calls as (name, arguments), and the reason."""
    reader = FormReader(ChatRequest(request_id="r", prompt="p", tools=TOOLS), HERMES)
    events = [e for piece in pieces for e in reader.read(TextDelta(choice=0, text=piece))]
    events += reader.read(ChoiceFinished(choice=0, reason=reason))
    calls: dict[int, list[str]] = {}
    for event in events:
        if isinstance(event, ToolCallDelta):
            assert (event.index in calls) == (event.id is None)  # id and name come first, once
            name, arguments = calls.get(event.index, [event.name, ""])
            calls[event.index] = [name, arguments + event.arguments]
    text = "".join(e.text for e in events if isinstance(e, TextDelta))
    return text, [(name, arguments) for name, arguments in calls.values()], events[-1].reason


@given(st.lists(st.integers(0, 200)))
def test_any_cutting_gives_the_same_calls(cuts: list[int]) -> None:
    whole = f"Let me see. {CALL_F}\n{CALL_G}"
    edges = sorted({0, len(whole), *(cut for cut in cuts if cut < len(whole))})
    text, calls, reason = read([whole[a:b] for a, b in zip(edges, edges[1:], strict=False)])
    assert text.strip() == "Let me see."
    assert [name for name, _ in calls] == ["f", "g"]
    assert json.loads(calls[0][1]) == {"a": '}"{', "b": [{}]}
    assert reason is FinishReason.TOOL_CALLS


@pytest.mark.parametrize(
    "text",
    ["plain", "a <tool_call", "a <tool_call>", '<tool_call>{"name": "unknown", "arguments": {}}</tool_call>',
     "<tool_call>" + "x" * 400, "1 < 2 <tool", "  spaces "],
)  # fmt: skip
def test_what_is_no_call_stays_text(text: str) -> None:
    for pieces in ([text], list(text)):
        assert read(pieces) == (text, [], FinishReason.STOP)


def test_log_probabilities_pass() -> None:
    reader = FormReader(ChatRequest(request_id="r", prompt="p", tools=TOOLS), HERMES)
    (event,) = reader.read(TextDelta(choice=0, text="<tool", logprobs=("kept",)))
    assert (event.text, event.logprobs) == ("", ("kept",))
