"""The same answer alone and among others, cold and reused, one choice of many, block by block."""

from __future__ import annotations

import asyncio
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vortex.decode.sampler import SamplerState
from vortex.engine.answer_text import AnswerText
from vortex.engine.choice import Choice, Ending
from vortex.engine.options import EngineOptions
from vortex.models.hash_model import HashModel, HashModelOptions
from vortex.tokenizer.byte_tokenizer import ByteTokenizer
from vortex.types import FinishReason, SamplingOptions, Span

SAMPLED = SamplingOptions(temperature=0.9, top_p=0.95, repetition_penalty=1.1, presence_penalty=0.2, seed=11)
LENGTHS = (1, 15, 16, 17, 31, 32, 33, 64, 100, 150)


def prompts() -> list[tuple[int, ...]]:
    source = random.Random(3)
    shared = [source.randrange(256) for _ in range(200)]
    return [tuple(shared[:length] if length % 2 else source.randbytes(length)) for length in LENGTHS]


@pytest.mark.parametrize("sampling", [SamplingOptions(), SAMPLED], ids=["greedy", "sampled"])
@pytest.mark.parametrize("remembers_cuts", [False, True])
async def test_alone_among_others_cold_and_reused(bench, sampling, remembers_cuts):
    model = HashModelOptions(remembers_cuts=remembers_cuts)
    fields = {"sampling": sampling, "max_tokens": 20, "ignore_eos": True}
    async with bench(model, EngineOptions(prefix_cache_bytes=0)) as alone:
        expected = [(await alone.ask(prompt=prompt, **fields)).token_ids() for prompt in prompts()]
    async with bench(model, EngineOptions(prefix_cache_bytes=0, prefill_tokens_per_sweep=20)) as cold:
        answers = await asyncio.gather(*(cold.ask(prompt=prompt, **fields) for prompt in prompts()))
        assert [answer.token_ids() for answer in answers] == expected
    async with bench(model, EngineOptions(max_slots=4)) as reused:
        for _ in range(2):
            answers = await asyncio.gather(*(reused.ask(prompt=prompt, **fields) for prompt in prompts()))
            assert [answer.token_ids() for answer in answers] == expected
        assert [answer.completed.usage.cached_tokens for answer in answers] == [
            16 * ((length - 1) // 16) for length in LENGTHS
        ]
        counters = await reused.counters()
        assert counters["cached_tokens"] > 0
        assert counters["swept_tokens"] < 2 * (sum(LENGTHS) + 20 * len(LENGTHS))
    assert all(len(tokens) == 20 for tokens in expected)


async def test_choices_of_one_request_differ_and_share_the_prompt(bench):
    fields = {"prompt": tuple(range(50)), "sampling": SAMPLED, "max_tokens": 12, "ignore_eos": True}
    async with bench(options=EngineOptions(prefix_cache_bytes=0)) as one:
        together = await one.ask(num_choices=3, **fields)
        alone = await one.ask(**fields)
        counters = await one.counters()
    tokens = [together.token_ids(choice) for choice in range(3)]
    assert tokens[0] == alone.token_ids()
    assert len({tuple(t) for t in tokens}) == 3
    assert together.reasons() == dict.fromkeys(range(3), FinishReason.LENGTH)
    assert together.completed.usage.prompt_tokens == 50
    assert together.completed.usage.completion_tokens == 36
    assert counters["swept_tokens"] == 50 + 3 * 11 + 50 + 11


async def test_a_drawn_seed_repeats_the_answer(bench):
    fields = {"prompt": "once", "max_tokens": 15, "ignore_eos": True}
    async with bench() as one:
        first = await one.ask(sampling=SamplingOptions(temperature=1.0), **fields)
        again = await one.ask(sampling=SamplingOptions(temperature=1.0, seed=first.seed), **fields)
        other = await one.ask(sampling=SamplingOptions(temperature=1.0), **fields)
    assert again.token_ids() == first.token_ids()
    assert other.seed != first.seed
    assert other.token_ids() != first.token_ids()


def make_choice(sampling: SamplingOptions, stop: tuple[str, ...]) -> Choice:
    tokenizer = ByteTokenizer()
    return Choice(
        sampler=SamplerState(sampling, seed=4, prompt_ids=[1, 2, 3]),
        text=AnswerText(0, tokenizer.stream_decoder(), stop),
        ending=Ending(max_tokens=30, end_ids=tokenizer.end_ids),
        tokenizer=tokenizer,
        top_logprobs=0,
    )


def answer_by_blocks(sampling, stop, draft):
    """Drives a choice as the loop does; `draft(tokens so far)` guesses what follows."""
    model = HashModel(HashModelOptions(context_length=None))
    choice, tokens = make_choice(sampling, stop), []
    state = model.new_state()
    output = model.sweep([Span(state, [1, 2, 3])])
    state.commit(3)
    choice.begin(state, output.logits)
    num_sweeps = 0
    while not choice.finish_reason:
        tokens += choice.block
        choice.carry(draft(tokens))
        block = list(choice.block)
        output = model.sweep([choice.span()])
        landed = choice.land(output.logits)
        tokens += block[1 : len(landed.tokens)]
        num_sweeps += 1
    delta = choice.text.take()
    ids = [one.token_id for one in delta.logprobs] if delta else []
    return ids, delta.text if delta else "", choice.finish_reason, choice.num_tokens, num_sweeps


@settings(max_examples=25)
@given(st.sampled_from([SamplingOptions(), SAMPLED]), st.randoms(use_true_random=False), st.integers(0, 8))
def test_drafted_blocks_give_the_tokens_of_plain_decoding(sampling, source, width):
    plain = answer_by_blocks(sampling, (), lambda tokens: [])
    stop = (plain[1][4:6],) if len(plain[1]) > 6 and source.random() < 0.5 else ()
    expected = answer_by_blocks(sampling, stop, lambda tokens: [])

    def mixed(tokens):
        truth = plain[0][len(tokens) : len(tokens) + width]
        return [t if source.random() < 0.8 else source.randrange(256) for t in truth]

    drafted = answer_by_blocks(sampling, stop, mixed)
    assert drafted[:4] == expected[:4]
    oracle = answer_by_blocks(sampling, (), lambda tokens: plain[0][len(tokens) : len(tokens) + width])
    assert oracle[:4] == plain[:4]
    assert oracle[4] <= -(-30 // (width + 1)) + 1
