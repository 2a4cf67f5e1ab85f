"""Several models behind one door: who is opened, who leaves, who waits, and what a failure is to the others."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from contextlib import aclosing

import pytest

from vortex.backends.fake import FakeBackend, Pace
from vortex.engine.several import Offer, SeveralModels, SeveralOptions, Shelf
from vortex.errors import BackendError, ModelFileError, Overloaded, RequestError, UnknownModel
from vortex.protocols import ChatBackend
from vortex.types import ChatRequest, Completed, ModelCard, ModelState, Started

SIZES = {"first": 60, "second": 60, "third": 30, "huge": 500, "broken": 10}


class Closing(FakeBackend):
    closed = False

    async def close(self) -> None:
        self.closed = True


class House:
    """Fakes that are opened by name, and what was opened when."""

    def __init__(self, *, pace: Pace | None = None, gate: threading.Event | None = None, **options: float) -> None:
        self.opened: list[Closing] = []
        self.gate = gate
        self.pace = pace
        first = Closing(name="first", pace=pace)
        self.opened.append(first)
        fields = {"budget_bytes": 100, **options}
        shelf = Shelf(offers=self.offers, open=self.open, owner_of={"tuned": "second"}.get)
        self.models = SeveralModels(self.offer("first"), first, shelf, SeveralOptions(**fields))

    def offer(self, name: str) -> Offer:
        return Offer(ModelCard(name=name), SIZES[name])

    def offers(self) -> Sequence[Offer]:
        return [self.offer(name) for name in SIZES]

    def open(self, name: str) -> ChatBackend:
        if self.gate is not None:
            assert self.gate.wait(10)
        if name == "broken":
            raise ModelFileError("broken is truncated; download it again")
        self.opened.append(Closing(name=name, pace=self.pace))
        return self.opened[-1]

    @property
    def open_names(self) -> list[str]:
        return [backend.name for backend in self.opened if not backend.closed]

    async def ask(self, model: str | None) -> str:
        """The name of the model that answered."""
        events = [event async for event in self.models.chat(ChatRequest(request_id="r", model=model, prompt="hello"))]
        assert isinstance(events[-1], Completed)
        assert isinstance(events[0], Started)
        return events[0].model

    async def states(self) -> dict[str, ModelState]:
        return {place.name: place.state for place in await self.models.places()}


async def until(holds: Callable[[], bool]) -> None:
    for _ in range(2000):
        if holds():
            return
        await asyncio.sleep(0.002)
    raise AssertionError("it never came true")


async def test_the_request_decides_and_the_least_recently_used_leaves() -> None:
    house = House()
    assert await house.ask(None) == "first"
    assert await house.ask("third") == "third"
    assert house.open_names == ["first", "third"]
    await house.ask("first")  # so that the third is the older one, and enough to leave would be the first
    assert await house.ask("second") == "second"
    assert house.open_names == ["second"], "60 + 30 + 60 > 100, and the third alone would not make room"
    assert await house.ask("third") == "third"
    assert house.open_names == ["second", "third"]
    counters = (await house.models.status()).counters
    assert (counters["model_loads"], counters["model_evictions"], counters["models_bytes"]) == (3, 2, 90)
    assert (await house.states())["first"] is ModelState.AVAILABLE
    assert {card.name for card in await house.models.models()} == set(SIZES)
    await house.models.close()
    assert house.open_names == []


async def test_two_used_in_turn_under_a_budget_for_one_never_fail() -> None:
    house = House()
    for _ in range(10):
        assert [await house.ask(name) for name in ("first", "second")] == ["first", "second"]
    together = await asyncio.gather(*(house.ask(name) for name in ["first", "second"] * 10))
    assert together == ["first", "second"] * 10
    await house.models.close()


async def test_requests_for_one_model_open_it_once() -> None:
    house = House()
    assert await asyncio.gather(*(house.ask("third") for _ in range(5))) == ["third"] * 5
    assert house.open_names == ["first", "third"]
    await house.models.close()


async def test_one_that_answers_is_not_closed_and_the_other_is_told_the_sizes() -> None:
    house = House(wait_s=0.05, pace=Pace(token_ms=20))
    async with aclosing(house.models.chat(ChatRequest(request_id="r", prompt="hello", min_tokens=500))) as events:  # type: ignore[type-var]
        await anext(events)
        with pytest.raises(Overloaded, match=r"second \(0 MB\) does not fit beside first, which is answering"):
            await house.ask("second")
        with pytest.raises(RequestError, match="first is answering"):
            await house.models.unload("first")
    assert await house.ask("second") == "second"
    await house.models.close()


async def test_a_request_waits_for_room_rather_than_fail() -> None:
    house = House(pace=Pace(token_ms=1))
    events = house.models.chat(ChatRequest(request_id="r", prompt="hello", min_tokens=500))
    await anext(events)
    waiting = asyncio.ensure_future(house.ask("second"))
    await asyncio.sleep(0.02)
    assert not waiting.done()
    await events.aclose()  # type: ignore[attr-defined]  # an asynchronous generator
    assert await waiting == "second"
    await house.models.close()


async def test_one_that_cannot_be_opened_fails_alone_and_is_tried_again() -> None:
    house = House()
    answers = await asyncio.gather(house.ask("broken"), house.ask("first"), return_exceptions=True)
    assert isinstance(answers[0], BackendError)
    assert str(answers[0]) == "broken cannot be opened: broken is truncated; download it again"
    assert answers[1] == "first"
    assert (await house.states())["broken"] is ModelState.FAILED
    with pytest.raises(BackendError, match="download it again"):
        await house.ask("broken")
    await house.models.close()


async def test_one_larger_than_all_memory_is_refused_with_both_numbers() -> None:
    house = House(budget_bytes=100e6)
    SIZES["huge"], before = 500_000_000, SIZES["huge"]
    try:
        with pytest.raises(RequestError, match=r"huge needs 500 MB and all models together may take 100 MB"):
            await house.ask("huge")
    finally:
        SIZES["huge"] = before
    await house.models.close()


@pytest.mark.parametrize("name", ["/etc/passwd", "../other.gguf", "~/x", "a/../../b", "C:\\x.gguf", "x.gguf"])
async def test_a_name_that_is_a_path_is_refused(name: str) -> None:
    house = House()
    with pytest.raises(UnknownModel, match="never by a path"):
        await house.ask(name)
    assert len(house.opened) == 1
    await house.models.close()


async def test_unknown_names_and_adapters() -> None:
    house = House()
    with pytest.raises(UnknownModel, match="'fourth' is not on the server's machine"):
        await house.ask("fourth")
    with pytest.raises(UnknownModel, match="ask for 'second'"):  # the fake has no adapters, but it was asked
        await house.ask("tuned")
    await house.models.close()


async def test_a_client_that_goes_while_a_model_opens_leaves_it_for_the_next() -> None:
    house = House(gate=threading.Event())
    asking = asyncio.ensure_future(house.ask("third"))
    await asyncio.sleep(0.02)
    assert (await house.states())["third"] is ModelState.OPENING
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    assert house.gate is not None
    house.gate.set()
    await until(lambda: house.open_names == ["first", "third"])
    assert await house.ask("third") == "third"
    assert house.open_names == ["first", "third"]
    await house.models.close()


async def test_what_is_idle_too_long_is_closed_and_opened_again() -> None:
    house = House(ttl_s=0.05)
    await house.ask("third")
    await until(lambda: house.open_names == [])
    assert await house.ask(None) == "first"
    await house.models.close()


async def test_one_is_closed_on_demand() -> None:
    house = House()
    await house.models.unload("first")
    assert house.open_names == []
    with pytest.raises(UnknownModel, match="is not open"):
        await house.models.unload("first")
    assert await house.ask("first") == "first"
    await house.models.close()


async def test_vectors_come_from_the_model_that_is_named() -> None:
    house = House()
    assert (await house.models.embed(["a"], "third")).vectors.shape[0] == 1
    assert house.open_names == ["first", "third"]
    await house.models.close()


async def test_tokens_are_counted_by_the_model_that_is_named() -> None:
    house = House()
    asked = ChatRequest(request_id="r", model="second", prompt="one two")
    assert len(await house.models.prompt_token_ids(asked)) == 2
    assert house.opened[-1].name == "second"
    ids = await house.models.tokenize("three four", model="second")
    assert await house.models.detokenize(ids, "second") == "three four"
    await house.models.close()
