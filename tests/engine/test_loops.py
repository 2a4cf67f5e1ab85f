"""An answer that repeats itself is ended with a word about it; what was asked to run on runs on."""

from __future__ import annotations

import pytest

from tests.engine.conftest import Answer, open_bench
from vortex.decode.drafting.suffix_drafter import SuffixDrafter
from vortex.decode.loops import LEAST_TOKENS, LOOP_NOTE
from vortex.engine.options import EngineOptions
from vortex.types import ChatMessage, ChoiceFinished, FinishReason, SamplingOptions

SAME_LETTER = SamplingOptions(logit_bias={65: 100.0})
HELLO = (ChatMessage(role="user", content="hello"),)


def end_of(answer: Answer) -> ChoiceFinished:
    return next(event for event in answer.events if isinstance(event, ChoiceFinished))


@pytest.mark.parametrize("drafters", [(), (SuffixDrafter(),)])
async def test_a_loop_ends_at_the_same_token_with_and_without_drafts(drafters: tuple[SuffixDrafter, ...]) -> None:
    options = EngineOptions(end_loops=True, drafters=drafters)
    async with open_bench(options=options) as bench:
        answer = await bench.ask(messages=HELLO, sampling=SAME_LETTER, max_tokens=1000)
    assert answer.text() == "A" * LEAST_TOKENS
    assert (end_of(answer).reason, end_of(answer).note) == (FinishReason.STOP, LOOP_NOTE)


@pytest.mark.parametrize(
    ("end_loops", "fields"),
    [(False, {"messages": HELLO}), (True, {"prompt": "hello"}), (True, {"messages": HELLO, "ignore_eos": True})],
)
async def test_who_did_not_ask_for_an_end_gets_none(end_loops: bool, fields: dict[str, object]) -> None:
    async with open_bench(options=EngineOptions(end_loops=end_loops)) as bench:
        answer = await bench.ask(sampling=SAME_LETTER, max_tokens=300, **fields)
    assert (len(answer.text()), end_of(answer).note) == (300, "")
