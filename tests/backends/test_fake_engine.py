"""The fake engine is what tests and measurements lean on: deterministic, and entropy as scripted."""

from __future__ import annotations

import math

import aiohttp
import pytest

from vortex.backends.fake_engine import FakeEngine, Script, chances_with_entropy


@pytest.mark.parametrize("target", [0.0, 0.1, 0.5, 0.6, 0.9, 0.99])
@pytest.mark.parametrize("count", [2, 5, 10, 20])
def test_chances_have_the_entropy_that_was_asked(target: float, count: int) -> None:
    chances = chances_with_entropy(target, count)
    entropy = -sum(p * math.log2(p) for p in chances if p > 0) / math.log2(count)
    assert sum(chances) == pytest.approx(1)
    assert entropy == pytest.approx(target, abs=1e-3)
    assert chances[0] == max(chances)


async def test_the_same_request_gives_the_same_bytes() -> None:
    fake = FakeEngine(Script(num_tokens=5))
    await fake.start()
    body = {"messages": [{"role": "user", "content": "x"}], "stream": True, "max_tokens": 3}
    try:
        async with aiohttp.ClientSession() as session:
            answers = []
            for _ in range(2):
                async with session.post(f"{fake.url}/v1/chat/completions", json=body) as response:
                    answers.append(await response.read())
    finally:
        await fake.stop()
    assert answers[0] == answers[1]
    assert answers[0].count(b"data: ") == 1 + 3 + 1 + 1, "role, three tokens, finish, [DONE]"
    assert fake.observed.counts["requests"] == 2
