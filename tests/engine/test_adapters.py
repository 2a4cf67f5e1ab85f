"""Adapters through the engine: an answer is its own, whoever else is served, with any prefix, after any swap."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.adapters.random_adapters import write_random
from tests.models.tiny_models import write_safetensors
from vortex.adapters.bank import AdapterBank
from vortex.adapters.current import Current, Promoted
from vortex.adapters.reading import ModelTargets, read_adapter
from vortex.adapters.shelf import AdapterShelf
from vortex.c3.format.folder import C3Folder, C3Writer
from vortex.c3.sources import ResidentSource
from vortex.decode.drafting.suffix_drafter import HistoryDrafter, SuffixDrafter
from vortex.engine.backend import LocalBackend
from vortex.engine.given_text import GivenTexts, Reading, carrying, log_softmax, run
from vortex.engine.options import EngineOptions
from vortex.errors import AdapterError, UnknownModel
from vortex.kernels import dispatch
from vortex.models.decoder import native_pack
from vortex.models.decoder.adapter_parts import adapter_targets
from vortex.models.decoder.model import Decoder
from vortex.models.decoder.native_compute import NativeCompute
from vortex.models.files.safetensors import SafetensorsCheckpoint
from vortex.tokenizer.byte_tokenizer import ByteChatFormat, ByteTokenizer
from vortex.types import (
    Adapter,
    ChatRequest,
    ModelCard,
    RivalSearch,
    SamplingOptions,
    Span,
    Started,
    TextDelta,
    Want,
)

pytestmark = pytest.mark.skipif(not dispatch.usable(), reason="the native core was not built")
PROMPT = tuple(range(3, 20))
NAMES = ("tiny", "one", "two", None)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> SafetensorsCheckpoint:
    return SafetensorsCheckpoint(write_safetensors(tmp_path_factory.mktemp("tiny"), "qwen2"))


@pytest.fixture(scope="module")
def packed(checkpoint: SafetensorsCheckpoint, tmp_path_factory: pytest.TempPathFactory) -> C3Folder:
    path = tmp_path_factory.mktemp("packed") / "tiny.c3"
    with C3Writer(path, {}) as writer:
        native_pack.pack(checkpoint, writer, "auto")
    return C3Folder(path)


@pytest.fixture
def shelf(checkpoint: SafetensorsCheckpoint, tmp_path: Path) -> AdapterShelf:
    layers = adapter_targets(checkpoint.config)
    targets = ModelTargets("tiny", layers)
    given = {name: write_random(tmp_path / name, layers, 4, seed) for seed, name in enumerate(("one", "two"))}
    bank = AdapterBank(lambda folder, limit_bytes: read_adapter(folder, targets, limit_bytes), 10**8)
    return AdapterShelf(model="tiny", bank=bank, given=given, current=Current(tmp_path / "current", "tiny"))


Open = Callable[..., Any]


@pytest.fixture
def opened(checkpoint: SafetensorsCheckpoint, packed: C3Folder, shelf: AdapterShelf) -> Open:
    @asynccontextmanager
    async def open_backend(prefix_cache_bytes: int = 0, **options: Any) -> AsyncIterator[LocalBackend]:
        compute = NativeCompute(checkpoint.config, ResidentSource(packed))
        compute.prefill_chunk = 4
        backend = LocalBackend(
            Decoder(checkpoint.config, compute),
            ByteTokenizer(),
            ByteChatFormat(),
            ModelCard(name="tiny"),
            EngineOptions(prefix_cache_bytes=prefix_cache_bytes, **options),
            adapters=shelf,
        )
        try:
            yield backend
        finally:
            await backend.close()

    return open_backend


async def ask(
    backend: LocalBackend, model: str | None, prompt: tuple[int, ...] = PROMPT, **fields: Any
) -> tuple[list[int], Started]:
    request = ChatRequest(
        request_id="r", model=model, prompt=prompt, top_logprobs=0, ignore_eos=True, max_tokens=24, **fields
    )
    tokens: list[int] = []
    started: Started | None = None
    async for event in backend.chat(request):
        if isinstance(event, Started):
            started = event
        elif isinstance(event, TextDelta):
            tokens += [entry.token_id for entry in event.logprobs]
    assert started is not None
    return tokens, started


async def test_answers_are_their_own_in_any_company(opened: Open) -> None:
    sampled = SamplingOptions(temperature=1.0, seed=5)
    for sampling in (SamplingOptions(), sampled):
        async with opened() as backend:
            alone = [(await ask(backend, name, sampling=sampling))[0] for name in NAMES]
        assert alone[0] == alone[3]
        assert len({tuple(tokens) for tokens in alone}) == 3
        drafters = (SuffixDrafter(), HistoryDrafter())
        async with opened(10**7, drafters=drafters) as backend:
            for _ in range(2):  # prefixes and histories are warm the second time
                asked = [ask(backend, name, sampling=sampling) for name in NAMES * 2]
                together = [tokens for tokens, _ in await asyncio.gather(*asked)]
                assert together == alone * 2
            assert (await backend.status()).counters["prefix_hits"] > 0


async def test_a_prefix_serves_its_own_adapter_alone(opened: Open) -> None:
    async with opened() as backend:
        cold = {name: (await ask(backend, name, (*PROMPT, 7)))[0] for name in NAMES[:3]}
    async with opened(10**7) as backend:
        for hits, name in enumerate(NAMES[:3]):
            await ask(backend, name)
            assert (await backend.status()).counters["prefix_hits"] == hits, "nothing of another adapter's"
            assert (await ask(backend, name, (*PROMPT, 7)))[0] == cold[name]


async def test_who_answers_is_told(opened: Open, shelf: AdapterShelf) -> None:
    async with opened() as backend:
        _, plain = await ask(backend, None)
        _, one = await ask(backend, "one")
        assert (plain.model, plain.adapter) == ("tiny", None)
        assert one.model == "one"
        assert one.adapter is not None
        assert one.adapter.startswith("sha256:")
        cards = {card.name: card.parent for card in await backend.models()}
        assert cards == {"tiny": None, "tiny:current": "tiny", "one": "tiny", "two": "tiny"}
        with pytest.raises(UnknownModel, match="GET /v1/models"):
            await ask(backend, "three")
        assert (await backend.status()).counters["adapter_loads"] == 1


async def test_a_swap_meets_new_requests_and_leaves_running_ones(opened: Open, shelf: AdapterShelf) -> None:
    def promote(name: str) -> None:
        folder = shelf.given[name]
        assert shelf.current is not None
        with shelf.bank.lease(folder) as adapter:
            shelf.current.set(Promoted(folder, adapter.hash))

    async with opened() as backend:
        one, two = [(await ask(backend, name))[0] for name in ("one", "two")]
        promote("one")
        running = backend.chat(
            ChatRequest(request_id="r", prompt=PROMPT, top_logprobs=0, ignore_eos=True, max_tokens=24)
        )
        assert isinstance(await anext(running), Started)
        promote("two")
        assert (await ask(backend, None))[0] == two
        assert (await ask(backend, "tiny:current"))[0] == two
        rest = [e.token_id async for event in running if isinstance(event, TextDelta) for e in event.logprobs]
        assert rest == one
        assert shelf.current is not None
        shelf.current.clear()
        assert (await ask(backend, None))[0] == (await ask(backend, "tiny"))[0]


async def test_what_was_promoted_and_then_edited_is_refused(opened: Open, shelf: AdapterShelf) -> None:
    assert shelf.current is not None
    shelf.current.set(Promoted(shelf.given["one"], "sha256:other"))
    async with opened() as backend:
        with pytest.raises(AdapterError, match="was changed since"):
            await ask(backend, None)
        assert len((await ask(backend, "tiny"))[0]) == 24


async def test_embeddings_of_an_adapter(opened: Open, shelf: AdapterShelf) -> None:
    async with opened() as backend:
        with shelf.choose("one") as one:
            carried = (None, one.adapter, one.adapter)
            plain, first, again = [await backend._vector(list(PROMPT), adapter) for adapter in carried]
    assert (first == again).all()
    assert abs(first - plain).max() > 0.01


async def test_leases_end_with_their_requests(opened: Open, shelf: AdapterShelf) -> None:
    async with opened() as backend:
        events = backend.chat(ChatRequest(request_id="r", model="one", prompt=PROMPT, max_tokens=64))
        await anext(events)
        await events.aclose()
        for _ in range(3):
            asking = asyncio.ensure_future(ask(backend, "two"))
            await asyncio.sleep(0)
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
        await ask(backend, "two")
        await asyncio.sleep(0.05)
        assert [entry.pins for entry in shelf.bank._entries.values()] == [0, 0]


def test_a_given_text_is_read_with_an_adapter(
    checkpoint: SafetensorsCheckpoint, packed: C3Folder, shelf: AdapterShelf
) -> None:
    model = Decoder(checkpoint.config, NativeCompute(checkpoint.config, ResidentSource(packed)))
    texts = GivenTexts(ByteTokenizer(), ByteChatFormat(), vocab_size=model.vocab_size, context_length=None, chunk=4)
    given, other = (
        Reading(
            [3, 4],
            [5, 6, 7, 8],
            [0, 1, 2, 3],
            b"....",
        ),
        Reading([3, 4], [5, 6, 9], [0, 1, 2], b"..."),
    )

    def expected(ids: list[int], adapter: Adapter | None) -> float:
        state = model.new_state()
        rows = model.sweep([Span(state, [3, 4, *ids[:-1]], Want.ALL_LOGITS, adapter)]).logits[1:]
        state.close()
        return float(log_softmax(rows)[range(len(ids)), ids].sum())

    with shelf.bank.lease(shelf.given["one"]) as one:
        for adapter in (None, one):
            asked = carrying(texts.log_probabilities(model, given, [other]), adapter)
            found = run(model, asked)
            np.testing.assert_allclose(
                found, [expected(list(each.text_ids), adapter) for each in (given, other)], rtol=1e-5
            )
        search = RivalSearch(most=4)
        plain, carried = (run(model, carrying(texts.rivals(model, given, search), each)) for each in (None, one))
    assert plain != carried
