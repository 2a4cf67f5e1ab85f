"""With guesses on board or without, whoever guesses: token by token the same answer, and in fewer sweeps."""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import replace

import numpy as np
import pytest

from tests.engine.conftest import Answer, Bench
from tests.engine.drafters import Failing
from vortex.bench.probe_drafters import Liar, Oracle
from vortex.decode.drafting.head_drafter import HeadDrafter
from vortex.decode.drafting.model_drafter import ModelDrafter
from vortex.decode.drafting.suffix_drafter import HistoryDrafter, SuffixDrafter
from vortex.decode.structure.structured import StructuredDecoding
from vortex.engine.backend import LocalBackend
from vortex.engine.options import EngineOptions
from vortex.models.hash_model import HashModel, HashModelOptions, _hash_of
from vortex.tokenizer.byte_tokenizer import ByteChatFormat, ByteTokenizer
from vortex.types import ModelCard, SamplingOptions

GREEDY = SamplingOptions()
SAMPLED = SamplingOptions(
    temperature=0.8, top_p=0.95, repetition_penalty=1.1, presence_penalty=0.1, frequency_penalty=0.05, seed=5
)
SCHEMA = {
    "type": "object",
    "properties": {"a": {"type": "string"}, "b": {"type": "array", "items": {"type": "integer"}}},
}
KINDS = {
    "greedy": {"sampling": GREEDY, "ignore_eos": True},
    "sampled": {"sampling": SAMPLED, "ignore_eos": True},
    "schema": {"sampling": GREEDY, "json_schema": SCHEMA},
    "stop": {"sampling": GREEDY, "stop": ("\x1f", "a")},
}
PROMPTS = [tuple(range(40, 40 + length)) for length in (3, 17, 33, 50)]
MODEL = HashModelOptions(looks_back=1, row_share=0.05)


def drafters_of(who: str, texts) -> tuple:
    return {
        "suffix": lambda: (SuffixDrafter(),),
        "history": lambda: (HistoryDrafter(),),
        "all": lambda: (SuffixDrafter(), HistoryDrafter()),
        "liar": lambda: (Liar(),),
        "oracle": lambda: (Oracle(texts),),
        "nearly": lambda: (Oracle(texts, wrong_every=3),),
    }[who]()


async def answers_of(bench, fields, drafters=(), width=32, streams=1, model=MODEL) -> tuple[list[Answer], dict]:
    constrain = StructuredDecoding(ByteTokenizer()).constrain
    options = EngineOptions(max_block=width, drafters=drafters, entropy_top_k=8)
    async with bench(model, options, constrain=constrain) as one:
        asked = [one.ask(prompt=prompt, max_tokens=64, **fields) for prompt in PROMPTS]
        answers = await asyncio.gather(*asked) if streams > 1 else [await each for each in asked]
        return answers, await one.counters()


def facts(answers):
    return [(a.token_ids(), a.text(), a.reasons(), a.completed.usage.completion_tokens) for a in answers]


@pytest.fixture(scope="module")
def plain_answers():
    return {}


WHO = ("suffix", "history", "all", "liar", "oracle", "nearly")
CELLS = [
    (kind, who, width, streams)
    for index, (kind, who, width, streams) in enumerate(itertools.product(KINDS, WHO, (1, 2, 8, 32), (1, 4)))
    if index % 5 == (index // 8) % 5
]


@pytest.mark.parametrize(("kind", "who", "width", "streams"), CELLS)
async def test_the_same_answer_whoever_guesses(bench, plain_answers, kind, who, width, streams):
    if kind not in plain_answers:
        plain_answers[kind] = (await answers_of(bench, KINDS[kind]))[0]
    expected = plain_answers[kind]
    texts = [[*prompt, *answer.token_ids()] for prompt, answer in zip(PROMPTS, expected, strict=True)]
    answers, counters = await answers_of(bench, KINDS[kind], drafters_of(who, texts), width, streams)
    assert facts(answers) == facts(expected)
    if width == 1:
        assert "num_drafts" not in counters
    elif who == "oracle" and kind in ("greedy", "sampled"):
        assert counters["num_accepted_draft_tokens"] == counters["num_draft_tokens"] > 0


async def test_repeated_text_takes_half_the_sweeps_and_the_counters_say_so(bench):
    plain, _ = await answers_of(bench, KINDS["greedy"])
    drafted, counters = await answers_of(bench, KINDS["greedy"], (SuffixDrafter(),))
    sweeps = [sum(a.completed.timings.counters["decode_sweeps"] for a in answers) for answers in (plain, drafted)]
    assert sweeps[1] < sweeps[0] / 2
    for answer in drafted:
        told = answer.completed.timings.counters
        assert 1 <= told["mean_acceptance_length"] <= 32
        assert told["tokens_per_sweep"] == pytest.approx(63 / told["decode_sweeps"])
    assert counters["num_draft_tokens"] == sum(a.completed.timings.counters["num_draft_tokens"] for a in drafted)


@pytest.mark.parametrize("how", ["raises", "slow", "beyond the vocabulary"])
async def test_a_drafter_in_trouble_changes_nothing(bench, how):
    plain, _ = await answers_of(bench, KINDS["sampled"])
    answers, counters = await answers_of(bench, KINDS["sampled"], (Failing(how), SuffixDrafter()))
    assert facts(answers) == facts(plain)
    named = {"raises": "drafter_failures", "slow": "drafter_rests", "beyond the vocabulary": "drafter_bad_ids"}[how]
    assert counters[named] >= 1
    assert counters["failed"] == 0


async def test_a_block_ends_at_the_context_and_at_the_limit(bench):
    model = HashModelOptions(looks_back=2, row_share=0.0, context_length=120)
    for limit in (1, 2, 9, 70):
        fields = {"prompt": PROMPTS[3], "max_tokens": limit, "ignore_eos": True}
        async with bench(model, EngineOptions(drafters=(Liar(), SuffixDrafter()))) as one:
            answer = await one.ask(**fields)
        async with bench(model) as other:
            assert facts([answer]) == facts([await other.ask(**fields)])
        assert len(answer.token_ids()) == limit


async def test_choices_of_one_request_draft_apart(bench):
    fields = {"prompt": PROMPTS[1], "max_tokens": 40, "ignore_eos": True, "num_choices": 3, "sampling": SAMPLED}
    async with bench(MODEL) as one:
        plain = await one.ask(**fields)
    async with bench(MODEL, EngineOptions(drafters=(SuffixDrafter(), HistoryDrafter()))) as other:
        drafted = await other.ask(**fields)
    assert [drafted.token_ids(c) for c in range(3)] == [plain.token_ids(c) for c in range(3)]


async def test_a_model_whose_rounding_shows_widths_is_not_drafted_for(bench):
    model = HashModelOptions(looks_back=2, remembers_cuts=True)
    for always in (False, True):
        options = EngineOptions(drafters=(SuffixDrafter(),), drafts_always=always)
        async with bench(model, options) as one:
            await one.ask(prompt=PROMPTS[0], max_tokens=30, ignore_eos=True)
            assert ("num_drafts" in await one.counters()) == always


@pytest.mark.parametrize("sampling", [GREEDY, SAMPLED], ids=["greedy", "sampled"])
async def test_a_model_drafts_with_the_same_noise_so_its_twin_is_always_right(bench, sampling):
    model = HashModelOptions(row_share=0.01, context_length=200)
    fields = {"sampling": sampling, "ignore_eos": True}
    plain, _ = await answers_of(bench, fields, model=model)
    twin = HashModel(model)
    drafted, counters = await answers_of(bench, fields, (SuffixDrafter(), ModelDrafter(twin)), model=model)
    assert facts(drafted) == facts(plain)
    assert counters["drafter_failures"] == 0
    assert counters["num_accepted_draft_tokens"] > 0.5 * counters["num_draft_tokens"] > 0
    assert twin.open_states == 0


class ModelWithHeads(HashModel):
    """Beside its logits it gives those that would follow if the likeliest tokens did."""

    def sweep(self, spans):
        output = super().sweep(spans)
        ahead = []
        for span, rows in zip(spans, output.logits_rows, strict=True):
            first = len(span.token_ids) - (rows.stop - rows.start)
            for offset in range(rows.stop - rows.start):
                last = span.token_ids[first + offset]
                ahead.append(self._heads(last))
        return replace(output, draft_logits=np.array(ahead, dtype=np.float32))

    def _heads(self, last):
        heads = []
        for _ in range(3):
            last = int(self.logits_of(_hash_of(0, (last,))).argmax())
            heads.append(20 * self.logits_of(_hash_of(0, (last,))))
        return heads


async def test_further_heads_of_the_model_draft():
    model = ModelWithHeads(HashModelOptions(looks_back=1, row_share=0.01))
    answers = []
    for drafters in ((), (HeadDrafter(),)):
        backend = LocalBackend(
            model, ByteTokenizer(), ByteChatFormat(), ModelCard(name="heads"), EngineOptions(drafters=drafters)
        )
        answer = await Bench(model, backend).ask(prompt=PROMPTS[1], max_tokens=41, ignore_eos=True)
        answers.append(answer)
        await backend.close()
    assert facts(answers[:1]) == facts(answers[1:])
    told = answers[1].completed.timings.counters
    assert told["num_accepted_draft_tokens"] == told["num_draft_tokens"] > 0
    assert told["decode_sweeps"] <= 14
