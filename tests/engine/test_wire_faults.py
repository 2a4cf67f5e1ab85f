"""What clients send to an engine: limits beyond the context, special tokens in prompts, prompts to be scored."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tests.engine.conftest import Answer
from vortex.models.hash_model import HashModelOptions
from vortex.tokenizer.byte_tokenizer import CONTROL_TEXT
from vortex.types import FinishReason, TextDelta


def notes(answer: Answer) -> tuple[str, ...]:
    return answer.events[0].notes


async def test_a_limit_beyond_the_context_is_lowered_and_said(bench) -> None:
    async with bench(HashModelOptions(context_length=100)) as one:
        answer = await one.ask(prompt="x" * 90, max_tokens=32_000, ignore_eos=True)
        assert len(answer.token_ids()) == 9
        assert notes(answer) == (
            "max_tokens 32000 was lowered to 9: the prompt has 91 tokens and the context holds 100",
        )
        assert notes(await one.ask(prompt="x" * 90, max_tokens=9)) == ()
        assert notes(await one.ask(prompt="x" * 90, max_tokens=-1)) == ()
        none = await one.ask(prompt="x" * 90, max_tokens=0, ignore_eos=True)
        assert len(none.token_ids()) == 1
        assert "read as 1" in notes(none)[0]


async def test_special_tokens_of_a_plain_prompt_are_meant(bench) -> None:
    async with bench() as one:
        (special,) = (text for text in list(CONTROL_TEXT.values())[:1])
        before = await one.counters()
        await one.ask(prompt=f"{special}x", max_tokens=1)
        after = await one.counters()
        assert after["prompt_tokens"] - before["prompt_tokens"] <= 3


async def test_a_prompt_is_given_back_and_scored(bench) -> None:
    async with bench() as one:
        plain = await one.ask(prompt="hello", max_tokens=5, ignore_eos=True)
        echoed = await one.ask(prompt="hello", max_tokens=5, ignore_eos=True, echo=True, top_logprobs=2)
        scored = await one.ask(prompt="hello", max_tokens=0, echo=True, top_logprobs=2)
        assert echoed.text() == "hello" + plain.text()
        assert scored.text() == "hello"
        assert scored.reasons() == {0: FinishReason.LENGTH}
        assert scored.completed.usage.completion_tokens == 0
        logprobs = scored.logprobs()
        assert math.isnan(logprobs[0].logprob)
        assert b"".join(one.token_bytes for one in logprobs).endswith(b"hello")
        assert all(one.logprob < 0 and len(one.top) == 2 for one in logprobs[1:])
        np.testing.assert_array_equal(
            [x.logprob for x in echoed.logprobs()[1 : len(logprobs)]], [x.logprob for x in logprobs[1:]]
        )
        for cut in range(1, 5):  # each is the model's own, given what stands before
            alone = await one.ask(prompt="hello"[:cut], max_tokens=1, top_logprobs=20, ignore_eos=True)
            rivals = {top.token_id: top.logprob for top in alone.logprobs()[0].top}
            token = logprobs[len(logprobs) - 5 + cut]
            assert rivals.get(token.token_id, token.logprob) == pytest.approx(token.logprob)


async def test_a_prompt_is_echoed_for_every_choice(bench) -> None:
    async with bench() as one:
        answer = await one.ask(prompt="ab", max_tokens=2, num_choices=2, echo=True, top_logprobs=None)
        firsts = [next(e for e in answer.events if isinstance(e, TextDelta) and e.choice == i) for i in range(2)]
        assert [first.text for first in firsts] == ["ab", "ab"]
        assert firsts[0].logprobs == ()
