"""Adapters on the real default model: every answer is its own in any company, and a swap under load mixes nothing."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest

from tests.adapters.random_adapters import random_pairs
from vortex.adapters.bank import AdapterBank
from vortex.adapters.current import Current, Promoted
from vortex.adapters.peft_config import PeftConfig
from vortex.adapters.reading import ModelTargets, read_adapter
from vortex.adapters.shelf import AdapterShelf
from vortex.adapters.writing import write_adapter
from vortex.decode.drafting.suffix_drafter import HistoryDrafter, SuffixDrafter
from vortex.engine.backend import LocalBackend
from vortex.engine.options import EngineOptions
from vortex.hub.names import resolve
from vortex.kernels import dispatch
from vortex.models.decoder.model import Decoder
from vortex.models.decoder.opening import open_decoder
from vortex.models.opened import LoadOptions, Opened
from vortex.types import ChatMessage, ChatRequest, ModelCard, SamplingOptions, Span, Started, TextDelta, Want

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(not dispatch.usable(), reason="the native core was not built"),
]
PROMPTS = (Path(__file__).parent.parent / "data" / "prompts.txt").read_text(encoding="utf-8").splitlines()
TEXT = " ".join(PROMPTS)
PROMPTS = PROMPTS[:6]
NUM_ADAPTERS = 4


@pytest.fixture(scope="module")
def opened() -> Opened[Decoder]:
    resolved = resolve("smollm2-135m")
    return open_decoder(resolved.path, LoadOptions(packed_root=resolved.made_folder))


@pytest.fixture(scope="module")
def folders(opened: Opened[Decoder], tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Strong enough to answer otherwise, weak enough to answer at all; of different ranks and types."""
    root = tmp_path_factory.mktemp("adapters")
    for seed in range(NUM_ADAPTERS):
        rank, dtype = (4, 16, 8, 33)[seed], (np.float32, np.uint16, np.float16, np.float32)[seed]
        pairs = random_pairs(opened.model.adapter_targets(), rank, seed, dtype)
        write_adapter(root / f"a{seed}", PeftConfig(rank=rank, alpha=0.2 * rank), pairs, "")
    return [root / f"a{seed}" for seed in range(NUM_ADAPTERS)]


def targets(opened: Opened[Decoder]) -> ModelTargets:
    return ModelTargets("base", opened.model.adapter_targets())


def test_prefill_equals_steps_and_company_changes_nothing(opened: Opened[Decoder], folders: list[Path]) -> None:
    model = opened.model
    ids = opened.tokenizer.encode(TEXT)[:150]
    adapters = [None, *(read_adapter(folder, targets(opened)) for folder in folders)]

    def swept(index: int, cuts: list[int]) -> np.ndarray:
        state, rows = model.new_state(), []
        for start, stop in zip([0, *cuts], [*cuts, len(ids)], strict=True):
            rows.append(model.sweep([Span(state, ids[start:stop], Want.ALL_LOGITS, adapters[index])]).logits)
            state.commit(stop - start)
        state.close()
        return np.concatenate(rows)

    whole = [swept(index, [128]) for index in range(len(adapters))]
    for index, expected in enumerate(whole):
        np.testing.assert_array_equal(swept(index, list(range(100, 150))), expected)
    states = [model.new_state() for _ in adapters]
    spans = [Span(state, ids, Want.ALL_LOGITS, adapter) for state, adapter in zip(states, adapters, strict=True)]
    output = model.sweep(spans)
    for rows, expected in zip(output.logits_rows, whole, strict=True):
        np.testing.assert_array_equal(output.logits[rows], expected)
    assert len({rows.tobytes() for rows in whole}) == len(whole)


async def ask(backend: LocalBackend, number: int, model: str | None, *, cold: bool) -> tuple[str | None, list[int]]:
    request = ChatRequest(
        request_id=str(number),
        model=model,
        messages=(ChatMessage(role="user", content=PROMPTS[number % len(PROMPTS)]),),
        sampling=SamplingOptions() if number % 2 else SamplingOptions(temperature=0.8, seed=7),
        max_tokens=12,
        top_logprobs=0,
    )
    adapter, tokens = None, []
    async for event in backend.chat(request):
        if isinstance(event, Started):
            adapter = event.adapter
        elif isinstance(event, TextDelta):
            tokens += [entry.token_id for entry in event.logprobs]
    assert tokens or not cold
    return adapter, tokens


async def test_a_swap_under_load_mixes_no_answer(opened: Opened[Decoder], folders: list[Path], tmp_path: Path) -> None:
    shelf = AdapterShelf(
        model="base",
        bank=AdapterBank(lambda folder, limit_bytes: read_adapter(folder, targets(opened), limit_bytes), 10**9),
        given={folder.name: folder for folder in folders},
        current=Current(tmp_path, "base"),
    )
    options = EngineOptions(max_slots=8, queue_limit=200, drafters=(SuffixDrafter(), HistoryDrafter()))
    card = ModelCard(name="base")
    backend = LocalBackend(opened.model, opened.tokenizer, opened.chat_format, card, options, adapters=shelf)
    try:
        names = ["base", *shelf.given]
        alone: dict[tuple[str | None, int], list[int]] = {}
        for number in range(len(PROMPTS)):
            for name in names:
                adapter, tokens = await ask(backend, number, name, cold=True)
                alone[adapter, number] = tokens

        async def swap() -> None:
            for folder in folders:
                with shelf.bank.lease(folder) as adapter:
                    Current(tmp_path, "base").set(Promoted(folder, adapter.hash))
                await asyncio.sleep(0.3)

        swapping = asyncio.ensure_future(swap())
        numbers = [*range(len(PROMPTS))] * 6

        async def later(place: int, number: int) -> tuple[str | None, list[int]]:
            await asyncio.sleep(0.03 * place)
            return await ask(backend, number, None, cold=False)

        answers = await asyncio.gather(*(later(place, number) for place, number in enumerate(numbers)))
        await swapping
        for number, (adapter, tokens) in zip(numbers, answers, strict=True):
            assert tokens == alone[adapter, number]
        assert len({adapter for adapter, _ in answers}) > 1, "the swaps were seen"
    finally:
        await backend.close()
