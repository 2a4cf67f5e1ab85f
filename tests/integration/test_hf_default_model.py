"""The default model by transformers, as a user meets it: out of the cached GGUF file, resident and paged."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from vortex.decode.structure.structured import StructuredDecoding
from vortex.engine.backend import LocalBackend
from vortex.engine.intake import AnswerRules
from vortex.hub.names import resolve
from vortex.models.hf.folder import is_whole
from vortex.models.hf.model import HfModel
from vortex.models.hf.opening import open_hf
from vortex.models.opened import LoadOptions, Opened
from vortex.tokenizer.chat_format import TemplateChatFormat
from vortex.types import ChatMessage, ChatRequest, Exactness, ModelCard, Span, TextDelta, Want

pytestmark = pytest.mark.long
QUESTIONS = ("What is the capital of France?", "Name three primary colours.", "Why is the sky blue?", "Hello!")
NEW_TOKENS = 12


@pytest.fixture(scope="module")
def options() -> LoadOptions:
    return LoadOptions(packed_root=resolve("smollm2-135m").made_folder, device="cpu", threads=1)


@pytest.fixture(scope="module")
def loaded(options: LoadOptions) -> Iterator[Opened[HfModel]]:
    loaded = open_hf(resolve("smollm2-135m").path, options)
    yield loaded
    loaded.model.close()


@pytest.fixture(scope="module")
def folder(loaded: Opened[HfModel], options: LoadOptions) -> Path:
    (made,) = [path for path in options.packed_root.glob("*.transformers") if is_whole(path)]
    return made


def prompts(loaded: Opened[HfModel]) -> list[list[int]]:
    chat = TemplateChatFormat(loaded.tokenizer)
    return [chat.encode([ChatMessage(role="user", content=question)]) for question in QUESTIONS]


def greedy(model: HfModel, prompts: Sequence[Sequence[int]]) -> list[list[int]]:
    states = [model.new_state() for _ in prompts]
    spans = [Span(state, prompt) for state, prompt in zip(states, prompts, strict=True)]
    answers: list[list[int]] = [[] for _ in prompts]
    for _ in range(NEW_TOKENS):
        output = model.sweep(spans)
        for span, answer, rows in zip(spans, answers, output.logits_rows, strict=True):
            span.state.commit(len(span.token_ids))
            answer.append(int(output.logits[rows].argmax()))
        spans = [Span(state, answer[-1:]) for state, answer in zip(states, answers, strict=True)]
    for state in states:
        state.close()
    return answers


def test_four_streams_are_what_the_library_generates(loaded: Opened[HfModel], folder: Path) -> None:
    library = AutoModelForCausalLM.from_pretrained(folder, dtype=loaded.model.model.dtype, use_safetensors=True).eval()
    options = {"max_new_tokens": NEW_TOKENS, "do_sample": False, "pad_token_id": 0, "eos_token_id": 49151}
    wanted = [
        library.generate(torch.tensor([prompt]), **options)[0, len(prompt) :].tolist() for prompt in prompts(loaded)
    ]
    assert loaded.model.joins
    assert loaded.model.exactness is Exactness.ARGMAX
    assert greedy(loaded.model, prompts(loaded)) == wanted


def test_a_budget_changes_no_bit(loaded: Opened[HfModel], folder: Path) -> None:
    ids = prompts(loaded)[0]
    wanted = loaded.model.sweep([Span(loaded.model.new_state(), ids, Want.ALL_LOGITS)]).logits
    for budget_bytes in (80 * 10**6,):
        paged = open_hf(
            folder, LoadOptions(packed_root=folder.parent, budget_bytes=budget_bytes, device="cpu", threads=1)
        )
        logits = paged.model.sweep([Span(paged.model.new_state(), ids, Want.ALL_LOGITS)]).logits
        assert np.array_equal(logits, wanted)
        assert paged.model.counters()["resident_bytes"] <= budget_bytes
        paged.model.close()


def test_the_engine_answers_alike_alone_among_others_and_with_a_reused_prefix(options: LoadOptions) -> None:
    loaded = open_hf(resolve("smollm2-135m").path, options)
    structured = StructuredDecoding(loaded.tokenizer)
    backend = LocalBackend(
        loaded.model, loaded.tokenizer, TemplateChatFormat(loaded.tokenizer), ModelCard(name="smollm2-135m"),
        rules=AnswerRules(constrain=structured.constrain, read_answer=structured.read_answer),
    )  # fmt: skip
    system = ChatMessage(role="system", content="You answer in one short sentence. " * 24)

    async def ask(question: str) -> str:
        messages = (system, ChatMessage(role="user", content=question))
        request = ChatRequest(request_id=question, messages=messages, max_tokens=16)
        return "".join([event.text async for event in backend.chat(request) if isinstance(event, TextDelta)])

    async def run() -> None:
        alone = [await ask(question) for question in QUESTIONS]
        assert "Paris" in alone[0]
        together = await asyncio.gather(*(ask(question) for question in QUESTIONS))
        assert list(together) == alone
        assert (await backend.status()).counters["prefix_hits"] > 0
        await backend.close()

    asyncio.run(run())
