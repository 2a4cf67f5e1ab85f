"""Requests that are cancelled, refused, failed or cut off: nobody else notices, nothing leaks."""

from __future__ import annotations

import asyncio
import math
import threading
import time

import numpy as np
import pytest

from vortex.engine.options import EngineOptions
from vortex.errors import BackendError, MissingCapability, Overloaded, RequestError
from vortex.models.hash_model import HashModel, HashModelOptions
from vortex.tokenizer.byte_tokenizer import ByteTokenizer
from vortex.types import ChatRequest, FinishReason, SamplingOptions, Started, TextDelta

LONG = {"prompt": "go on", "max_tokens": 3000, "ignore_eos": True}


async def test_a_closed_iterator_frees_its_slot_by_the_next_sweep(bench):
    swept: list[list[object]] = []
    model = HashModelOptions(delay_s=0.002, on_sweep=lambda number, spans: swept.append([span.state for span in spans]))
    async with bench(model, EngineOptions(max_slots=2)) as one:
        keeper = asyncio.create_task(one.ask(prompt="stay", max_tokens=150, ignore_eos=True))
        answer = one.backend.chat(ChatRequest(request_id="gone", **LONG))
        async for event in answer:
            if isinstance(event, TextDelta):
                break
        await answer.aclose()
        closed_at = one.model.num_sweeps  # the sweep of this number may have been scheduled before
        waiting = await one.ask(prompt="next", max_tokens=3, ignore_eos=True)
        assert len((await keeper).token_ids()) == 150
        assert len(waiting.token_ids()) == 3
        assert (await one.counters())["cancelled"] == 1
    kept = max((state for states in swept for state in states), key=lambda state: state.length)
    gone = {id(state) for states in swept[:closed_at] for state in states if state is not kept}
    assert len(gone) == 1
    assert not any(id(state) in gone for states in swept[closed_at + 1 :] for state in states)


async def test_a_cancelled_task_cancels_its_request_in_the_line_too(bench):
    async with bench(HashModelOptions(delay_s=0.002), EngineOptions(max_slots=1)) as one:
        first = asyncio.create_task(one.ask(**LONG))
        second = asyncio.create_task(one.ask(**LONG))
        while (await one.backend.status()).queued != 1:
            await asyncio.sleep(0.002)
        second.cancel()
        first.cancel()
        await asyncio.gather(first, second, return_exceptions=True)
        await one.until_idle()
        assert (await one.counters())["cancelled"] == 2
        assert len((await one.ask(prompt="x", max_tokens=2, ignore_eos=True)).token_ids()) == 2


async def test_a_full_line_refuses_at_once_and_serves_the_rest(bench):
    async with bench(HashModelOptions(delay_s=0.01), EngineOptions(max_slots=2, queue_limit=3)) as one:
        tasks = [asyncio.create_task(one.ask(prompt=f"{i}", max_tokens=20, ignore_eos=True)) for i in range(9)]
        answers = await asyncio.gather(*tasks, return_exceptions=True)
        refused = [answer for answer in answers if isinstance(answer, Overloaded)]
        assert len(refused) == 4
        assert "3 may wait" in str(refused[0])
        assert sum(not isinstance(answer, Exception) for answer in answers) == 5
        assert (await one.counters())["refused"] == 4


async def test_a_failing_sweep_ends_the_requests_in_it_and_no_others(bench):
    async with bench(HashModelOptions(fail_at=frozenset({10}), delay_s=0.01), EngineOptions(max_slots=2)) as one:
        tasks = [asyncio.create_task(one.ask(prompt="a" * i, max_tokens=30, ignore_eos=True)) for i in (1, 2, 3)]
        answers = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(answer) for answer in answers[:2]] == [BackendError, BackendError]
        assert "sweep 10 fails on demand" in str(answers[0])
        assert answers[0] is not answers[1]
        assert len(answers[2].token_ids()) == 30, "it waited in the line and is answered"
        counters = await one.counters()
        assert (counters["failed"], counters["failed_sweeps"], counters["completed"]) == (2, 1, 1)


async def test_any_exception_of_a_model_becomes_one_line(bench):
    def explode(number, spans):
        if number == 1:
            raise MemoryError

    async with bench(HashModelOptions(on_sweep=explode)) as one:
        with pytest.raises(BackendError, match="the model failed while answering: MemoryError"):
            await one.ask(prompt="x", max_tokens=5, ignore_eos=True)


async def test_logits_that_are_not_numbers_end_their_request_alone(bench):
    favour = np.zeros(262)
    async with bench(HashModelOptions(favour=favour)) as one:
        await one.ask(prompt="x", max_tokens=2)
        favour[:] = np.nan
        with pytest.raises(BackendError, match="not numbers"):
            await one.ask(prompt="x", max_tokens=2)
        favour[:] = 0
        assert len((await one.ask(prompt="x", max_tokens=2, ignore_eos=True)).token_ids()) == 2


async def test_a_model_without_memory_for_a_state_fails_that_request(bench, monkeypatch):
    def no_memory(self):
        raise MemoryError("no room for a state")

    async with bench() as one:
        with monkeypatch.context() as patched:
            patched.setattr(HashModel, "new_state", no_memory)
            with pytest.raises(BackendError, match="no room for a state"):
                await one.ask(prompt="x", max_tokens=2)
        assert len((await one.ask(prompt="x", max_tokens=2, ignore_eos=True)).token_ids()) == 2


async def test_closing_drains_then_cuts_short_with_a_well_formed_end(bench):
    async with bench(HashModelOptions(delay_s=0.002)) as one:
        short = asyncio.create_task(one.ask(prompt="x", max_tokens=20, ignore_eos=True))
        long = asyncio.create_task(one.ask(**LONG))
        while (await one.backend.status()).active != 2:
            await asyncio.sleep(0.001)
        await one.backend.close(drain_s=1.0)
        assert (await short).reasons() == {0: FinishReason.LENGTH}
        cut = await long
        assert cut.reasons() == {0: FinishReason.CANCELLED}
        assert cut.completed.usage.completion_tokens == len(cut.token_ids()) > 20
        with pytest.raises(BackendError, match="closing"):
            await one.ask(prompt="x")
        assert not (await one.backend.status()).ready


async def test_closing_during_an_embedding_is_an_error_not_a_hang(bench):
    async with bench(HashModelOptions(delay_s=0.05)) as one:
        task = asyncio.create_task(one.backend.embed(["a long text " * 50]))
        while not (await one.backend.status()).active:
            await asyncio.sleep(0.001)
        await one.backend.close()
        with pytest.raises(BackendError, match="closed before"):
            await task


def test_a_loop_that_dies_with_answers_open_leaves_the_engine_alive(bench):
    """Two event loops share an engine; one ends without closing its iterator."""
    opened, kept = threading.Event(), []

    async def leave(one):
        answer = one.backend.chat(ChatRequest(request_id="left", **LONG))
        kept.append(answer)  # nobody closes it
        assert isinstance(await anext(answer), Started)
        opened.set()

    async def stay():
        async with bench(HashModelOptions(delay_s=0.001)) as one:
            loop = asyncio.new_event_loop()
            thread = threading.Thread(target=lambda: (loop.run_until_complete(leave(one)), loop.close()))
            thread.start()
            await asyncio.to_thread(thread.join)
            assert opened.is_set()
            await one.until_idle()
            assert (await one.counters())["cancelled"] == 1
            return await one.ask(prompt="x", max_tokens=2, ignore_eos=True)

    assert len(asyncio.run(stay()).token_ids()) == 2


async def test_long_prompts_do_not_hold_up_running_answers(bench):
    chunks_beside: list[int] = []

    def watch(number, spans):
        if any(len(span.token_ids) == 1 for span in spans):
            chunks_beside.append(sum(len(span.token_ids) for span in spans))

    async with bench(HashModelOptions(on_sweep=watch), EngineOptions(prefill_tokens_per_sweep=32)) as one:
        talker = asyncio.create_task(one.ask(prompt="x", max_tokens=300, ignore_eos=True))
        await asyncio.gather(talker, *(one.ask(prompt="y" * 2000, max_tokens=1) for _ in range(3)))
    assert max(chunks_beside) <= 33 + 3
    assert len(chunks_beside) >= 299


async def test_embeddings_are_unit_means_whatever_else_runs(bench):
    texts = ["one", "two" * 20, "three" * 30, "four", "five"]
    async with bench(options=EngineOptions(max_slots=2)) as one:
        alone = [(await one.backend.embed([text])).vectors[0] for text in texts]
        background = asyncio.create_task(one.ask(prompt="x", max_tokens=60, ignore_eos=True))
        together = await one.backend.embed(texts)
        await background
    assert np.array_equal(together.vectors, np.stack(alone))
    assert np.linalg.norm(together.vectors, axis=1) == pytest.approx(np.ones(5))
    assert together.vectors.dtype == np.float32
    assert together.prompt_tokens == sum(len(text) + 1 for text in texts)


async def test_a_model_without_hidden_rows_gives_no_embeddings(bench, monkeypatch):
    original = HashModel.sweep

    def without_hidden(self, spans):
        output = original(self, spans)
        return type(output)(output.logits, output.logits_rows)

    monkeypatch.setattr(HashModel, "sweep", without_hidden)
    async with bench() as one:
        with pytest.raises(MissingCapability, match="no embeddings"):
            await one.backend.embed(["x"])
        with pytest.raises(RequestError, match="at least one text"):
            await one.backend.embed([])


async def test_status_and_timings_tell_what_happened(bench):
    async with bench(HashModelOptions(delay_s=0.001), EngineOptions(entropy_top_k=20)) as one:
        answer = await one.ask(prompt="x" * 39, max_tokens=5, ignore_eos=True, sampling=SamplingOptions(seed=1))
        status = await one.backend.status()
    timings = answer.completed.timings
    counters = dict(timings.counters)
    assert 0 < counters.pop("mean_entropy_nats") < math.log(20)
    assert counters == {"prompt_sweeps": 3, "decode_sweeps": 4}
    assert timings.prefill_ms >= 3
    assert timings.decode_ms >= 4
    assert timings.queue_ms < 1000
    assert status.ready
    assert (status.active, status.queued) == (0, 0)
    wanted = {
        "requests": 1,
        "completed": 1,
        "sweeps": 7,
        "swept_tokens": 44,
        "prompt_tokens": 40,
        "generated_tokens": 5,
    }
    assert {name: status.counters[name] for name in wanted} == wanted
    assert status.counters["prefix_bytes"] > 0


@pytest.mark.long
async def test_an_hour_of_traffic_in_seconds(bench):
    """Hundreds of clients, a third of them leaving in the middle; faults in between."""
    faults = frozenset(range(50, 4000, 97))
    options = EngineOptions(max_slots=6, queue_limit=1000, prefix_cache_bytes=100_000)
    async with bench(HashModelOptions(fail_at=faults), options) as one:
        started = time.perf_counter()

        async def client(number: int) -> str:
            answer = one.backend.chat(
                ChatRequest(
                    request_id=str(number),
                    prompt="shared beginning " * (number % 7) + str(number),
                    max_tokens=5 + number % 40,
                    num_choices=1 + number % 3,
                    sampling=SamplingOptions(temperature=0.7 * (number % 2), seed=number),
                )
            )
            try:
                count = 0
                async for _ in answer:
                    count += 1
                    if number % 3 == 0 and count > number % 11:
                        return "left"
            except BackendError:
                return "failed"
            finally:
                await answer.aclose()
            return "answered"

        ends = await asyncio.gather(*(client(number) for number in range(600)))
        await one.until_idle()
        assert {"left", "failed", "answered"} == set(ends)
        assert time.perf_counter() - started < 120
        counters = await one.counters()
        assert counters["requests"] == 600
        assert counters["completed"] + counters["failed"] + counters["cancelled"] == 600


async def test_a_prompt_that_is_slow_to_read_does_not_hold_up_the_loop(bench, monkeypatch):
    slow = "y" * 20_000

    def read_slowly(self, text, **options):
        time.sleep(0.5 if text == slow else 0)
        return [1, 2, 3]

    monkeypatch.setattr(ByteTokenizer, "encode", read_slowly)
    async with bench() as one:
        waiting = asyncio.create_task(one.ask(prompt=slow, max_tokens=1, ignore_eos=True))
        await asyncio.sleep(0)
        await one.ask(prompt="x", max_tokens=1, ignore_eos=True)
        assert not waiting.done()
        await waiting
