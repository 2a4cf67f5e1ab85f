"""A conversation stays where its prefix lies; a model is asked where it is; load and death move what they must."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import dataclass

import pytest

from tests.gateway.running import Running, engine, gateway_before
from vortex.backends.fake_engine import FakeEngine, Script
from vortex.gateway.affinity import SLACK_REQUESTS, home, ranked


@dataclass
class Engine:
    url: str
    in_flight: int = 0


def fleet(count: int) -> list[Engine]:
    return [Engine(f"http://gpu-{index}:30000") for index in range(count)]


CONVERSATIONS = [f"conversation {number}" for number in range(600)]


def test_conversations_spread_evenly_and_whoever_asks_agrees() -> None:
    engines = fleet(3)
    homes = Counter(home(engines, one, 1.5).url for one in CONVERSATIONS)
    assert set(homes) == {engine.url for engine in engines}
    assert max(homes.values()) < 1.25 * len(CONVERSATIONS) / 3
    assert all(home(engines, one, 1.5).url == home(engines[::-1], one, 1.5).url for one in CONVERSATIONS)


def test_an_engine_that_goes_moves_only_its_own_conversations() -> None:
    engines = fleet(4)
    before = {one: home(engines, one, 1.5).url for one in CONVERSATIONS}
    left = engines[:2] + engines[3:]
    for one, was in before.items():
        assert home(left, one, 1.5).url == was or was == engines[2].url


def test_a_home_that_works_on_too_much_sends_on_to_the_next_and_takes_back() -> None:
    engines = fleet(3)
    first, second, _ = ranked(engines, "x")
    first.in_flight = SLACK_REQUESTS
    assert home(engines, "x", 1.5) is second
    second.in_flight = 30
    first.in_flight = 15  # of 46: half again the mean is 23
    assert home(engines, "x", 1.5) is first
    first.in_flight = 30  # of 61: half again the mean is 31
    assert home(engines, "x", 1.5) is first
    first.in_flight = second.in_flight = 32  # of 65: a quarter above the mean is 28
    assert home(engines, "x", 1.25) not in (first, second)
    first.in_flight = 0
    assert home(engines, "x", 1.5) is first


def test_where_all_are_full_the_home_takes_it() -> None:
    engines = fleet(2)
    for one in engines:
        one.in_flight = 100
    assert home(engines, "x", 0.5) is ranked(engines, "x")[0]


def users(running: Running, engines: list[FakeEngine]) -> dict[str, set[int]]:
    """Each conversation's first words: the engines that saw them."""
    seen: dict[str, set[int]] = {}
    for index, one in enumerate(engines):
        for body in one.observed.bodies:
            seen.setdefault(body["messages"][0]["content"], set()).add(index)
    return seen


async def converse(running: Running, name: str, turns: int) -> list[int]:
    messages: list[dict[str, str]] = []
    statuses = []
    for turn in range(turns):
        messages.append({"role": "user", "content": f"{name}" if not messages else f"turn {turn}"})
        answer = await running.post("/v1/chat/completions", {"model": "fake-model", "messages": messages})
        statuses.append(answer.status)
        messages.append({"role": "assistant", "content": "so"})
    return statuses


async def test_each_conversation_is_answered_by_one_engine_and_all_engines_work() -> None:
    async with AsyncExitStack() as stack:
        engines = [await stack.enter_async_context(engine()) for _ in range(3)]
        running = await stack.enter_async_context(gateway_before(*(one.url for one in engines)))
        await asyncio.gather(*(converse(running, f"talk {number}", 4) for number in range(20)))
        seen = users(running, engines)
        assert len(seen) == 20
        assert all(len(where) == 1 for where in seen.values())
        assert all(one.observed.bodies for one in engines)


async def test_without_a_bound_the_least_loaded_takes_it() -> None:
    async with AsyncExitStack() as stack:
        engines = [await stack.enter_async_context(engine()) for _ in range(2)]
        urls = [one.url for one in engines]
        running = await stack.enter_async_context(gateway_before(*urls, LKN_AFFINITY_BOUND="0"))
        for number in range(4):
            await converse(running, f"talk {number}", 2)
        assert [len(one.observed.bodies) for one in engines] == [8, 0]  # idle alike: the first


async def test_a_dead_home_loses_nothing_that_had_not_begun() -> None:
    script = Script(token_ms=20)
    async with AsyncExitStack() as stack:
        engines = [await stack.enter_async_context(engine(script)) for _ in range(3)]
        running = await stack.enter_async_context(gateway_before(*(one.url for one in engines)))
        talks = [asyncio.create_task(converse(running, f"talk {number}", 4)) for number in range(12)]
        await asyncio.sleep(0.15)  # all wait for whole answers: none has begun to arrive
        await engines[1].stop()
        statuses = [status for talk in await asyncio.gather(*talks) for status in talk]
        assert statuses == [200] * 48


@pytest.mark.parametrize("wanted", ["small", "large"])
async def test_a_model_is_asked_of_the_engine_that_offers_it(wanted: str) -> None:
    async with AsyncExitStack() as stack:
        engines = {
            name: await stack.enter_async_context(engine(Script(model=name))) for name in ("small", "large", "other")
        }
        running = await stack.enter_async_context(gateway_before(*(one.url for one in engines.values())))
        listed = await running.get("/v1/models")
        assert sorted(card["id"] for card in listed.json["data"]) == ["large", "other", "small"]
        for number in range(5):
            answer = await running.chat(f"question {number}", model=wanted)
            assert answer.json["model"] == wanted
        assert [name for name, one in engines.items() if one.observed.bodies] == [wanted]


async def test_a_model_whose_engine_is_gone_is_not_asked_of_another() -> None:
    async with AsyncExitStack() as stack:
        here = await stack.enter_async_context(engine(Script(model="here")))
        gone = FakeEngine(Script(model="gone"))
        await gone.start()
        running = await stack.enter_async_context(gateway_before(here.url, gone.url))
        await running.get("/v1/models")
        await gone.stop()
        answer = await running.chat("hello", model="gone")
        assert answer.status == 502
        assert not here.observed.bodies


async def test_a_model_nobody_offers_is_the_engines_to_refuse() -> None:
    async with AsyncExitStack() as stack:
        engines = [await stack.enter_async_context(engine(Script(model=name))) for name in ("one", "two")]
        running = await stack.enter_async_context(gateway_before(*(one.url for one in engines)))
        await running.get("/v1/models")
        assert (await running.chat("hello", model="unheard-of")).status == 200  # the fake engine refuses none
