"""The same answer alone and among others, cold and with a reused prefix: the real default model, token by token.

VORTEX_TEST_MODEL names another model or file than the default one, VORTEX_TEST_PROMPTS a smaller number of prompts,
VORTEX_TEST_THREADS how many threads compute (on a busy machine one is faster than two).
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from vortex.engine.backend import LocalBackend
from vortex.engine.options import EngineOptions
from vortex.types import ChatMessage, ChatRequest, Completed, ModelCard, SamplingOptions, TextDelta

pytestmark = pytest.mark.long
PROMPTS = (Path(__file__).parent.parent / "data" / "prompts.txt").read_text(encoding="utf-8").splitlines()
PROMPTS = PROMPTS[: int(os.environ.get("VORTEX_TEST_PROMPTS", "100"))]
RULES = "Answer briefly and in plain words. If you are not sure, say so. Never invent a name, a number or a date. "
SYSTEMS = (RULES * 11, RULES * 5, RULES * 5, RULES * 5)  # two whole chunks of the default model, or one
SAMPLED = SamplingOptions(temperature=0.8, top_p=0.95, repetition_penalty=1.1, seed=7)
MAX_TOKENS = 16


@asynccontextmanager
async def backend(prefix_cache_bytes: int) -> AsyncIterator[LocalBackend]:
    from vortex.hub.names import resolve
    from vortex.models.decoder.opening import open_decoder
    from vortex.models.opened import LoadOptions
    from vortex.tokenizer.chat_format import TemplateChatFormat

    resolved = resolve(os.environ.get("VORTEX_TEST_MODEL", "smollm2-135m"))
    threads = int(os.environ.get("VORTEX_TEST_THREADS", "0"))
    loaded = open_decoder(resolved.path, LoadOptions(packed_root=resolved.made_folder, threads=threads))
    local = LocalBackend(
        loaded.model,
        loaded.tokenizer,
        TemplateChatFormat(loaded.tokenizer),
        ModelCard(name=resolved.name),
        EngineOptions(max_slots=5, queue_limit=len(PROMPTS), prefix_cache_bytes=prefix_cache_bytes),
    )
    try:
        yield local
    finally:
        await local.close()


async def answer(local: LocalBackend, number: int, sampling: SamplingOptions) -> tuple[list[int], int]:
    """Token ids, and how much of the prompt was reused."""
    messages = (
        ChatMessage(role="system", content=SYSTEMS[number % len(SYSTEMS)]),
        ChatMessage(role="user", content=PROMPTS[number]),
    )
    request = ChatRequest(
        request_id=str(number), messages=messages, sampling=sampling, max_tokens=MAX_TOKENS, top_logprobs=0
    )
    tokens: list[int] = []
    async for event in local.chat(request):
        if isinstance(event, TextDelta):
            tokens += [entry.token_id for entry in event.logprobs]
        elif isinstance(event, Completed):
            return tokens, event.usage.cached_tokens
    raise AssertionError("an answer without an end")


async def one_by_one(local: LocalBackend, sampling: SamplingOptions) -> list[tuple[list[int], int]]:
    return [await answer(local, number, sampling) for number in range(len(PROMPTS))]


async def five_at_once(local: LocalBackend, sampling: SamplingOptions) -> list[tuple[list[int], int]]:
    return await asyncio.gather(*(answer(local, number, sampling) for number in range(len(PROMPTS))))


@pytest.mark.parametrize("sampling", [SamplingOptions(), SAMPLED], ids=["greedy", "sampled"])
async def test_a_hundred_prompts_are_answered_the_same(sampling: SamplingOptions) -> None:
    async with backend(prefix_cache_bytes=0) as cold:
        alone = await one_by_one(cold, sampling)
        among_others = await five_at_once(cold, sampling)
    async with backend(prefix_cache_bytes=256 * 2**20) as warm:
        await answer(warm, 0, sampling)
        await answer(warm, 1, sampling)
        reused_among_others = await five_at_once(warm, sampling)
        reused_alone = await one_by_one(warm, sampling)
    assert all(cached == 0 for _, cached in alone + among_others)
    assert all(cached >= 128 for _, cached in reused_alone + reused_among_others)
    expected = [tokens for tokens, _ in alone]
    different = {
        name: [number for number, (tokens, _) in enumerate(answers) if tokens != expected[number]]
        for name, answers in {
            "among others": among_others,
            "reused, among others": reused_among_others,
            "reused, alone": reused_alone,
        }.items()
    }
    assert not any(different.values()), f"prompts whose answer differs from the one given cold and alone: {different}"
