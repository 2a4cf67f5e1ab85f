"""What a request can be refused for, and how an answer ends."""

from __future__ import annotations

import math

import numpy as np
import pytest

from vortex.engine.options import EngineOptions
from vortex.errors import ContextOverflow, RequestError, UnknownModel
from vortex.models.hash_model import HashModelOptions
from vortex.tokenizer.byte_tokenizer import END_ID
from vortex.types import (
    ChatMessage,
    ChoiceFinished,
    FinishReason,
    SamplingOptions,
    TextDelta,
    ToolCallDelta,
    ToolSpec,
)

HELLO = (ChatMessage(role="user", content="hello"),)


@pytest.mark.parametrize(
    ("fields", "param", "said"),
    [
        ({}, "messages", "either messages or a prompt"),
        ({"messages": HELLO, "prompt": "x"}, "messages", "either messages or a prompt"),
        ({"prompt": ()}, "prompt", "empty"),
        ({"prompt": (1, 262)}, "prompt", "outside 0..261"),
        ({"prompt": "x", "suffix": "y"}, "suffix", "not made to fill in a middle"),
        ({"prompt": (1,), "suffix": "y"}, "suffix", "a prompt of text"),
        ({"prompt": "x", "max_tokens": -2}, "max_tokens", "at least 1"),
        ({"prompt": "x", "min_tokens": 9, "max_tokens": 8}, "min_tokens", "9 is more than the 8"),
        ({"prompt": "x", "num_choices": 9}, "n", "1 to 8 choices"),
        ({"prompt": "x", "num_choices": 0}, "n", "1 to 8 choices"),
        ({"prompt": "x", "top_logprobs": 21}, "top_logprobs", "between 0 and 20"),
        ({"prompt": "x", "stop": ("a", "")}, "stop", "not empty"),
        ({"prompt": "x", "json_schema": {}}, "response_format", "without constrained decoding"),
        ({"messages": HELLO, "tools": (ToolSpec(name="t"),)}, "tools", "asks for tool calls"),
        ({"prompt": "x", "sampling": SamplingOptions(temperature=-1)}, "temperature", "at least 0"),
        ({"prompt": "x", "sampling": SamplingOptions(temperature=math.nan)}, "temperature", "finite"),
        ({"prompt": "x", "sampling": SamplingOptions(top_p=1.1)}, "top_p", "between 0 and 1"),
        ({"prompt": "x", "sampling": SamplingOptions(min_p=-0.1)}, "min_p", "between 0 and 1"),
        ({"prompt": "x", "sampling": SamplingOptions(top_k=-1)}, "top_k", "no limit"),
        ({"prompt": "x", "sampling": SamplingOptions(top_p_min_k=0)}, "top_p_min_k", "at least 1"),
        ({"prompt": "x", "sampling": SamplingOptions(repetition_penalty=0)}, "repetition_penalty", "greater"),
        ({"prompt": "x", "sampling": SamplingOptions(logit_bias={262: 1.0})}, "logit_bias", "0 and 261"),
        ({"prompt": "x", "sampling": SamplingOptions(logit_bias={1: math.inf})}, "logit_bias", "finite"),
    ],
)
async def test_a_request_that_cannot_be_served_names_its_field(bench, fields, param, said):
    async with bench() as one:
        with pytest.raises(RequestError, match=said) as raised:
            await one.ask(**fields)
        assert raised.value.param == param
        assert (await one.counters())["requests"] == 0


async def test_what_does_not_fit_the_context_is_refused_with_both_numbers(bench):
    async with bench(HashModelOptions(context_length=100)) as one:
        with pytest.raises(ContextOverflow, match=r"has 101 tokens and the context holds 100") as raised:
            await one.ask(prompt="x" * 100)
        assert (raised.value.code, raised.value.param) == ("context_length_exceeded", "prompt")
        with pytest.raises(ContextOverflow, match=r"has at least \d+ tokens"):  # a book, not cut into tokens for that
            await one.ask(prompt="x" * (1 << 20))
        with pytest.raises(ContextOverflow, match=r"has 151 tokens"):
            await one.backend.embed(["x", "x" * 150])
        exactly = await one.ask(prompt="x" * 90, max_tokens=9, ignore_eos=True)
        open_end = await one.ask(prompt="x" * 90, ignore_eos=True)
        assert exactly.token_ids() == open_end.token_ids()
        assert len(open_end.token_ids()) == 9


async def test_limits_of_the_engine_shorten_context_and_answers(bench):
    options = EngineOptions(context_tokens=50, default_max_tokens=7)
    async with bench(HashModelOptions(context_length=None), options) as one:
        assert (await one.backend.models())[0].context_length == 50
        assert len((await one.ask(prompt="x", ignore_eos=True)).token_ids()) == 7
        with pytest.raises(ContextOverflow, match="holds 50"):
            await one.ask(prompt="x" * 60)


async def test_only_the_served_name_is_served(bench):
    async with bench() as one:
        await one.ask(model="hash", prompt="x", max_tokens=1)
        with pytest.raises(UnknownModel, match="'gpt-9' is not served here; this backend serves 'hash'"):
            await one.ask(model="gpt-9", prompt="x")
        with pytest.raises(UnknownModel):
            await one.backend.embed(["x"], model="gpt-9")


async def test_endings(bench):
    favour = np.zeros(262)
    favour[END_ID] = 100.0
    favour[ord("a")] = 50.0
    async with bench(HashModelOptions(favour=favour)) as one:
        ended = await one.ask(messages=HELLO)
        assert (ended.text(), ended.reasons()) == ("", {0: FinishReason.STOP})
        assert ended.completed.usage.completion_tokens == 1
        held_off = await one.ask(messages=HELLO, min_tokens=3)
        assert (held_off.text(), held_off.reasons()) == ("aaa", {0: FinishReason.STOP})
        ignored = await one.ask(messages=HELLO, ignore_eos=True, max_tokens=4)
        assert (ignored.text(), ignored.reasons()) == ("", {0: FinishReason.LENGTH})
        favour[END_ID] = 0
        stopped = await one.ask(messages=HELLO, stop=("aaa",), max_tokens=9)
        assert (stopped.text(), stopped.token_ids(), stopped.reasons()) == ("", [], {0: FinishReason.STOP})
        late = await one.ask(messages=HELLO, stop=("aaa",), max_tokens=9, min_tokens=2)
        assert late.text() == "aa"
        unfinished = await one.ask(messages=HELLO, stop=("aaaab",), max_tokens=3)
        assert (unfinished.text(), unfinished.reasons()) == ("aaa", {0: FinishReason.LENGTH})


async def test_log_probabilities_come_on_request(bench):
    async with bench() as one:
        silent = await one.ask(prompt="x", max_tokens=3, top_logprobs=None, ignore_eos=True)
        assert silent.logprobs() == []
        told = await one.ask(prompt="x", max_tokens=3, top_logprobs=2, ignore_eos=True)
    assert "".join(one.token_bytes.decode(errors="replace") for one in told.logprobs())
    for entry in told.logprobs():
        assert entry.logprob == entry.top[0].logprob >= entry.top[1].logprob
        assert entry.top[0].token_id == entry.token_id, "greedy"


class Digits:
    """At most `length` digits, then the end."""

    def __init__(self, left: int) -> None:
        self.left = left

    def mask(self):
        return np.isin(np.arange(262), list(b"0123456789"))

    def settle(self, token_id):
        return token_id

    def advance(self, token_id):
        self.left -= 1

    @property
    def is_finished(self):
        return self.left == 0

    def copy(self):
        return Digits(self.left)


class CallReader:
    reasoning_tokens = 0
    """Turns the whole answer into one tool call, when it ends."""

    def __init__(self) -> None:
        self.text = ""

    def read(self, event):
        if isinstance(event, TextDelta):
            self.text += event.text
            return
        yield ToolCallDelta(choice=event.choice, index=0, id="c", name="count", arguments=self.text)
        yield ChoiceFinished(choice=event.choice, reason=FinishReason.TOOL_CALLS)


async def test_constraints_and_readers_plug_in_from_outside(bench):
    limits = []

    def constrain(request, max_tokens, prompt_tail):
        limits.append(max_tokens)
        return Digits(6)

    async with bench(
        constrain=constrain, read_answer=lambda request, tail: CallReader() if request.tools else None
    ) as one:
        free = await one.ask(prompt="x", max_tokens=4, ignore_eos=True)
        assert len(free.token_ids()) == 4
        sampling = SamplingOptions(temperature=1.5, seed=2)
        both = await one.ask(prompt="x", json_schema={}, num_choices=2, sampling=sampling, min_tokens=1, max_tokens=99)
        assert [len(both.text(choice)) for choice in (0, 1)] == [6, 6]
        assert (both.text(0) + both.text(1)).isdigit()
        assert both.text(0) != both.text(1)
        assert both.reasons() == dict.fromkeys((0, 1), FinishReason.STOP)
        called = await one.ask(messages=HELLO, tools=(ToolSpec(name="count"),))
        calls = [event for event in called.events if isinstance(event, ToolCallDelta)]
        assert len(calls) == 1
        assert calls[0].arguments.isdigit()
        assert called.reasons() == {0: FinishReason.TOOL_CALLS}
    assert limits == [99, 2048]
