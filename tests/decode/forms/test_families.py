"""Each family's answers are split the same however they are cut, and are what was written; templates tell families."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

import pytest

from vortex.bench.wire.family_answers import SPELLINGS, TOOLS, family_answers
from vortex.decode.forms.families import FAMILIES, HERMES, THINK, family, form_of
from vortex.decode.forms.form import AnswerForm
from vortex.decode.forms.reader import FormReader
from vortex.types import ChatRequest, ChoiceFinished, FinishReason, ReasoningDelta, TextDelta, ToolCallDelta

REQUEST = ChatRequest(request_id="r", prompt="p", tools=TOOLS)


@dataclass
class Read:
    text: str
    thought: str
    calls: list[tuple[str, str]]
    reason: FinishReason
    note: str
    reasoning_tokens: int


def form_for(name: str) -> AnswerForm:
    form = family(name)
    return replace(form, thinking=(THINK,)) if name in ("hermes", "qwen3_coder") else form


def read(
    form: AnswerForm, pieces: Sequence[str], reason=FinishReason.STOP, request=REQUEST, prompt_tail: str = ""
) -> Read:
    reader = FormReader(request, form, prompt_tail)
    events = [e for piece in pieces for e in reader.read(TextDelta(choice=0, text=piece, num_tokens=1))]
    events += reader.read(ChoiceFinished(choice=0, reason=reason))
    calls: dict[int, tuple[str, str]] = {}
    for event in events:
        if isinstance(event, ToolCallDelta):
            assert (event.index in calls) == (event.id is None), "id and name come first, once"
            name, arguments = calls.get(event.index, (event.name or "", ""))
            calls[event.index] = (name, arguments + event.arguments)
    text = "".join(e.text for e in events if isinstance(e, TextDelta))
    thought = "".join(e.text for e in events if isinstance(e, ReasoningDelta))
    end = events[-1]
    return Read(text, thought, list(calls.values()), end.reason, end.note, reader.reasoning_tokens)


@pytest.mark.parametrize("count", [6, pytest.param(50, marks=pytest.mark.long)])
@pytest.mark.parametrize("name", SPELLINGS)
def test_answers_are_split_the_same_whole_and_letter_by_letter(name: str, count: int) -> None:
    form, draw = form_for(name), random.Random(name)
    for answer in family_answers(name, count):
        whole = read(form, [answer.written])
        assert (whole.thought, whole.text) == (answer.thought, answer.text), answer.written
        assert [(call, json.loads(arguments)) for call, arguments in whole.calls] == list(answer.calls), answer.written
        assert whole.reason is (FinishReason.TOOL_CALLS if answer.calls else FinishReason.STOP)
        letters = read(form, answer.written)
        assert replace_tokens(letters) == replace_tokens(whole)
        cuts = sorted(draw.sample(range(len(answer.written)), min(3, len(answer.written))))
        edges = [0, *cuts, len(answer.written)]
        pieces = [answer.written[a:b] for a, b in zip(edges, edges[1:], strict=False)]
        assert replace_tokens(read(form, pieces)) == replace_tokens(whole)


@pytest.mark.parametrize("count", [6, pytest.param(50, marks=pytest.mark.long)])
@pytest.mark.parametrize("name", SPELLINGS)
def test_answers_cut_anywhere_are_split_the_same(name: str, count: int) -> None:
    form, draw = form_for(name), random.Random(name)
    for answer in family_answers(name, count, seed=1):
        written = answer.written[: draw.randrange(len(answer.written))]
        whole, letters = read(form, [written], FinishReason.LENGTH), read(form, written, FinishReason.LENGTH)
        assert replace_tokens(letters) == replace_tokens(whole), written
        for call, _ in whole.calls[:-1]:
            assert call in {name for name, _ in answer.calls}


def replace_tokens(found: Read) -> Read:
    return replace(found, reasoning_tokens=0)


@pytest.mark.parametrize("name", [form.name for form in FAMILIES])
def test_templates_tell_their_family(name: str) -> None:
    signs = {
        "harmony": "<|start|>assistant<|channel|>final<|message|>",
        "gemma4": "{{ '<|tool_call>call:' }}",
        "function_gemma": "<start_function_call>",
        "deepseek": "{{'<｜tool▁calls▁begin｜>'}}",
        "mistral": "[AVAILABLE_TOOLS]",
        "lfm2": "<|tool_list_start|>",
        "phi4": "<|tool|>",
        "llama3": "<|start_header_id|>{% if tools %}",
        "glm": "<arg_key>",
        "qwen3_coder": "<tool_call>\n<function=",
    }
    assert form_of([signs[name]]).name == name


def test_a_template_without_marks_is_read_as_our_own_prompt_asks() -> None:
    assert form_of(["{{ messages }}"]) == replace(HERMES, marks=form_of([]).marks)
    assert form_of(["<tool_call> … </think>"]).thinking == (THINK,)
    assert not form_of(["<tool_call>"]).thinks


THINKING = form_for("hermes")


def test_thinking_that_the_prompt_began() -> None:
    found = read(THINKING, ["I look.", "\n</thi", "nk>\n\nHere."], prompt_tail="<|im_start|>assistant\n<think>\n")
    assert (found.thought, found.text, found.reasoning_tokens) == ("I look.", "Here.", 3)


def test_thinking_that_never_ends_is_all_thought_and_said() -> None:
    found = read(THINKING, ["<think>", "on ", "and ", "on"], FinishReason.LENGTH)
    assert (found.text, found.thought, found.reason) == ("", "on and on", FinishReason.LENGTH)
    assert "thinking" in found.note
    assert found.reasoning_tokens == 3


def test_without_tools_their_marks_are_text() -> None:
    request = replace(REQUEST, tools=())
    written = '<tool_call>{"name": "think", "arguments": {}}</tool_call>'
    assert read(HERMES, written, request=request).text == written


@pytest.mark.parametrize(
    ("name", "written", "arguments"),
    [
        ("hermes", '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Ro', '{"city": "Ro'),
        ("qwen3_coder", "<tool_call><function=get_weather><parameter=city>Rome</parameter><para", '{"city": "Rome"'),
        ("harmony", "<|channel|>commentary to=functions.get_weather<|message|>{", "{"),
    ],
)
def test_a_call_cut_by_the_limit_is_told_as_far_as_it_came(name: str, written: str, arguments: str) -> None:
    found = read(form_for(name), [written], FinishReason.LENGTH)
    assert found.calls == [("get_weather", arguments)]
    assert found.reason is FinishReason.LENGTH


@pytest.mark.parametrize(
    "written",
    [
        '{"name": "get_weather", "arguments": {"city": "Rome"}}',
        '```json\n{\n  "name": "get_weather",\n  "arguments": {"city": "Rome"}\n}\n```',
        '{"arguments": {"city": "Rome"}, "name": "get_weather"}',
        '{"type": "function", "function": {"name": "get_weather", "arguments": "{\\"city\\": \\"Rome\\"}"}}',
    ],
)
def test_calls_without_their_marks_are_read_as_what_they_mean(written: str) -> None:
    behind_words = [[f"Let me look.\n{written}"]] if written.startswith(('{"name"', "```")) else []
    for pieces in ([written], list(written), *behind_words):
        found = read(HERMES, pieces)
        assert [(name, json.loads(arguments)) for name, arguments in found.calls] == [("get_weather", {"city": "Rome"})]
        assert found.text in ("", "Let me look.")


@pytest.mark.parametrize("name", SPELLINGS)
@pytest.mark.parametrize(
    "text",
    ['{"name": "Bob", "age": 3}', '```json\n{"a": 1}\n```', "[link](there) and [TOOL", "1 < 2 <tool_cal", "{", "think"],
)
def test_what_is_no_call_stays_text(name: str, text: str) -> None:
    for pieces in ([text], list(text)):
        found = read(form_for(name), pieces)
        assert (found.text, found.calls, found.reason) == (text, [], FinishReason.STOP)
