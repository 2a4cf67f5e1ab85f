"""Everything an engine or a client can do wrong to the gateway: each ends in time, well-formed, and leaks nothing."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from contextlib import suppress

import aiohttp
import pytest

from tests.gateway.running import Answer, both, engine, gateway_before
from vortex.backends.fake_engine import Script

SOON_S = 2.5  # every quick time-out is below this, a busy machine included


async def ask(running, fault_engine, **extra) -> tuple[Answer, float]:
    started = time.monotonic()
    answer = await running.chat(**extra)
    return answer, time.monotonic() - started


def settled(fake, running) -> None:
    """Nothing is left in flight on either side."""
    assert running.gateway.admission.active == 0
    assert running.gateway.admission.queued == 0
    for upstream in running.gateway.upstreams.all:
        assert upstream.in_flight == 0
        assert len(upstream.client.open_connections) == len(upstream.client._idle), "a connection leaked"
    assert fake.observed.active == 0


async def engine_is_idle(fake) -> None:
    for _ in range(100):
        if fake.observed.active == 0:
            return
        await asyncio.sleep(0.01)
    raise AssertionError("the engine still works on a request")


STREAM_FAULTS = {
    "hang_mid_stream": "stalled",
    "heartbeats_only": "stalled",
    "reset_mid_stream": "engine_failed",
    "truncated_json": "engine_failed",
    "truncated_tail": "engine_failed",
    "ends_early": "engine_failed",
}


@pytest.mark.parametrize("fault", STREAM_FAULTS)
async def test_a_stream_that_breaks_ends_with_an_error_and_done(fault: str) -> None:
    async with both(Script(fault=fault)) as (fake, running):
        answer, seconds = await ask(running, fake, stream=True)
        assert seconds < SOON_S
        if answer.status == 200:
            assert answer.error["message"]
            assert answer.events[-1] == "[DONE]"
        else:
            assert answer.status in {502, 504}
            assert answer.json["error"]["code"]
        await engine_is_idle(fake)
        settled(fake, running)


@pytest.mark.parametrize(
    ("fault", "statuses"),
    [
        ("hang_before_headers", {504}),
        ("reset_before_headers", {502}),
        ("hang_mid_stream", {504}),
        ("reset_mid_stream", {502}),
        ("truncated_json", {502}),
        ("truncated_tail", {502}),
        ("error_in_200", {502}),
        ("status_500", {500}),
        ("redirect", {502}),
    ],
)
async def test_a_whole_answer_that_breaks_is_a_json_error(fault: str, statuses: set[int]) -> None:
    async with both(Script(fault=fault), LKN_TOTAL_TIMEOUT_S="0.5") as (fake, running):
        answer, seconds = await ask(running, fake)
        assert seconds < SOON_S
        assert answer.status in statuses
        assert answer.json["error"]["message"]
        assert running.gateway.upstreams.all[0].last_error
        await engine_is_idle(fake)
        settled(fake, running)


@pytest.mark.parametrize("fault", ["hang_before_headers", "reset_before_headers", "status_500", "redirect"])
async def test_a_stream_that_never_began_is_an_error(fault: str) -> None:
    async with both(Script(fault=fault), LKN_KEEPALIVE_S="5") as (fake, running):
        answer, seconds = await ask(running, fake, stream=True)
        assert seconds < SOON_S
        assert answer.status in {500, 502, 504}
        assert answer.json["error"]["message"]
        await engine_is_idle(fake)
        settled(fake, running)


async def test_while_the_engine_is_silent_a_stream_hears_comments() -> None:
    async with both(Script(first_token_ms=350), LKN_FIRST_TOKEN_TIMEOUT_S="3") as (_, running):
        answer, _ = await ask(running, None, stream=True)
        assert answer.body.count(b": keep-alive\n\n") >= 2
        assert answer.headers["x-lkn-mode"] == "FLUIDO"
        assert len(answer.text) > 0


async def test_an_engine_that_is_not_there_is_a_502_then_an_open_breaker() -> None:
    async with gateway_before("http://127.0.0.1:9", LKN_BREAKER_RESET_S="30") as running:
        for _ in range(5):
            answer, seconds = await ask(running, None, stream=True)
            assert (answer.status, seconds < SOON_S) == (502, True)
        answer, _ = await ask(running, None)
        assert answer.status == 503
        assert 1 <= int(answer.headers["retry-after"]) <= 31
        assert answer.headers["x-should-retry"] == "false"


async def test_the_breaker_closes_again_with_one_probe() -> None:
    async with both(Script(fault="reset_before_headers"), LKN_RETRIES="0") as (fake, running):
        for _ in range(5):
            await running.chat()
        assert (await running.chat()).status == 503
        fake.script.fault = "hang_before_headers"
        await asyncio.sleep(0.35)
        probe = asyncio.create_task(running.chat(stream=True))
        await asyncio.sleep(0.05)
        assert (await running.chat()).status == 503, "only one probe passes"
        await probe
        fake.script.fault = ""
        await asyncio.sleep(0.35)
        assert (await running.chat()).status == 200
        assert (await running.chat()).status == 200


@pytest.mark.long
async def test_killed_under_64_streams_and_started_again(tmp_path) -> None:
    """SIGKILL: every client sees a well-formed end in time, and the engine that comes back is used again."""
    process, url = await start_engine_process("--tokens", "2000", "--token-ms", "10")
    async with gateway_before(url, LKN_TOTAL_TIMEOUT_S="20", LKN_FIRST_TOKEN_TIMEOUT_S="9") as running:
        streams = [asyncio.create_task(running.chat(stream=True)) for _ in range(64)]
        while running.gateway.admission.active < 64:
            await asyncio.sleep(0.02)
        await asyncio.sleep(0.5)
        process.kill()
        started = time.monotonic()
        for answer in await asyncio.gather(*streams):
            if answer.status == 200:
                assert answer.error["message"]
            else:
                assert answer.status in {502, 503}
                assert answer.json["error"]["code"]
        assert time.monotonic() - started < 6
        await process.wait()
        assert (await running.chat()).status == 503
        process, _ = await start_engine_process("--port", url.rpartition(":")[2])
        in_a_row, started = 0, time.monotonic()
        while in_a_row < 3 and time.monotonic() - started < 10:  # a probe may still meet the old engine's end
            answer = await running.chat(stream=True)
            is_whole = answer.status == 200 and not any("error" in event for event in answer.events)
            in_a_row = in_a_row + 1 if is_whole else 0
            await asyncio.sleep(0.1)
        assert in_a_row == 3
        assert running.gateway.admission.active == 0
        process.kill()
        await process.wait()


async def start_engine_process(*options: str) -> tuple[asyncio.subprocess.Process, str]:
    command = [
        sys.executable,
        "-m",
        "vortex.backends.fake_engine",
        *(options or ()),
        *([] if "--port" in options else ["--port", "0"]),
    ]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    return process, (await asyncio.wait_for(process.stdout.readline(), 10)).decode().strip()


@pytest.mark.parametrize("fault", ["status_400", "status_429"])
async def test_a_4xx_is_handed_on_and_never_opens_the_breaker(fault: str) -> None:
    async with both(Script(fault=fault)) as (fake, running):
        for _ in range(8):
            answer, seconds = await ask(running, fake, stream=True)
            assert (answer.status, seconds < SOON_S) == (int(fault.removeprefix("status_")), True)
        if fault == "status_429":
            assert answer.headers["retry-after"] == "7"
        settled(fake, running)


async def test_a_loading_model_is_no_failure() -> None:
    async with both(Script(fault="loading_503")) as (fake, running):
        for _ in range(8):
            answer, seconds = await ask(running, fake, stream=True)
            assert (answer.status, answer.headers["retry-after"], seconds < SOON_S) == (503, "5", True)
        fake.script.fault = ""
        assert (await running.chat()).status == 200


async def test_characters_cut_in_two_arrive_whole() -> None:
    said = "cañón 🌋 日本語 é"
    async with both(Script(fault="split_utf8", answer=lambda _: said), LKN_TOTAL_TIMEOUT_S="10") as (_, running):
        answer, seconds = await ask(running, None, stream=True)
        assert (answer.text, seconds < SOON_S) == (said, True)


async def test_a_missing_done_is_added() -> None:
    async with both(Script(fault="missing_done")) as (_, running):
        answer, seconds = await ask(running, None, stream=True)
        assert answer.events[-2]["choices"][0]["finish_reason"] == "stop"
        assert seconds < SOON_S


async def test_an_error_inside_a_stream_is_handed_on_and_counted() -> None:
    async with both(Script(fault="error_in_200")) as (_, running):
        answer, seconds = await ask(running, None, stream=True)
        assert answer.error["message"] == "out of memory"
        assert seconds < SOON_S
        while running.gateway.admission.active:
            await asyncio.sleep(0.01)
        assert "out of memory" in running.gateway.upstreams.all[0].last_error


async def test_another_engine_takes_over_before_the_first_byte() -> None:
    async with (
        engine(Script(fault="status_500")) as bad,
        engine() as good,
        gateway_before(bad.url, good.url) as running,
    ):
        answers = [await running.chat(stream=True) for _ in range(12)]
        assert {answer.status for answer in answers} == {200}
        assert bad.observed.counts["requests"] <= 6, "the failing engine is ejected"
        assert good.observed.counts["requests"] == 12


async def test_a_client_that_does_not_read_is_dropped_and_the_engine_freed() -> None:
    script = Script(answer=lambda _: " ".join(["x" * 20_000] * 600))
    async with both(script, LKN_TOTAL_TIMEOUT_S="20", LKN_GAP_TIMEOUT_S="5") as (fake, running):
        host, port = running.url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port), limit=1024)
        body = json.dumps({"messages": [{"role": "user", "content": "hi"}], "stream": True}).encode()
        head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: {host}\r\ncontent-length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
        started = time.monotonic()
        await reader.readexactly(10)
        while running.gateway.admission.active:
            await asyncio.sleep(0.02)
            assert time.monotonic() - started < 15
        await engine_is_idle(fake)
        settled(fake, running)
        writer.transport.abort()


async def test_a_client_that_reads_slowly_gets_every_byte() -> None:
    script = Script(answer=lambda _: " ".join(["x" * 40_000] * 400))
    patient = {"LKN_TOTAL_TIMEOUT_S": "60", "LKN_GAP_TIMEOUT_S": "20", "LKN_CLIENT_STALL_S": "60"}
    body = {"messages": [{"role": "user", "content": "hi"}], "stream": True}
    async with both(script, **patient) as (fake, running):
        async with running.session.post(f"{fake.url}/v1/chat/completions", json=body) as response:
            expected = await response.read()
        async with running.session.post(f"{running.url}/v1/chat/completions", json=body) as response:
            (connection,) = running.gateway.upstreams.all[0].client.open_connections
            for _ in range(200):  # until all buffers on the way are full
                if connection.paused:
                    break
                await asyncio.sleep(0.01)
            assert await response.read() == expected
        for _ in range(500):  # the gateway may still be hearing the end of the engine's answer
            if not running.gateway.admission.active:
                break
            await asyncio.sleep(0.01)
        settled(fake, running)


HOLDING = {"LKN_DECISION_STRATEGY": "entropy", "LKN_BAND_LOW": "0", "LKN_HOLD_TOKENS": "64"}


@pytest.mark.parametrize(
    ("phase", "script", "variables", "extra"),
    [
        ("queue", Script(first_token_ms=5000), {"LKN_MAX_IN_FLIGHT": "1"}, {"stream": True}),
        ("probe", Script(first_token_ms=5000), {"LKN_DECISION_STRATEGY": "entropy", "LKN_BAND_LOW": "0"}, {}),
        ("before_first_token", Script(first_token_ms=5000), {}, {"stream": True}),
        ("held", Script(num_tokens=500, token_ms=200, entropy=lambda *_: 0.6), HOLDING, {"stream": True}),
        ("mid_stream", Script(num_tokens=500, token_ms=20), {}, {"stream": True}),
        ("whole", Script(first_token_ms=5000), {}, {}),
    ],
)
async def test_a_client_that_leaves_cancels_the_engine(phase, script, variables, extra) -> None:
    long = {"LKN_FIRST_TOKEN_TIMEOUT_S": "9", "LKN_TOTAL_TIMEOUT_S": "9", "LKN_PROBE_TIMEOUT_S": "9"}
    async with both(script, **{**long, **variables}) as (fake, running):
        others = [asyncio.create_task(running.chat(**extra)) for _ in range(3 if phase == "queue" else 1)]
        await asyncio.sleep(0.15)
        assert running.gateway.admission.active == 1
        assert running.gateway.admission.queued == (2 if phase == "queue" else 0)
        started = time.monotonic()
        for task in others:
            task.cancel()
            with suppress(asyncio.CancelledError, aiohttp.ClientError):
                await task
        while running.gateway.admission.active or fake.observed.active:
            await asyncio.sleep(0.01)
            assert time.monotonic() - started < 1.5
        settled(fake, running)
        assert running.gateway.upstreams.all[0].breaker.state == "closed"
        assert not running.gateway.upstreams.all[0].last_error


async def test_a_10_mb_prompt_passes_and_a_larger_one_is_refused() -> None:
    async with both(LKN_TOTAL_TIMEOUT_S="30", LKN_FIRST_TOKEN_TIMEOUT_S="30") as (fake, running):
        text = "palabra ñ " * 1_000_000
        answer, seconds = await ask(running, fake, text=text, stream=True)
        assert (answer.status, answer.mode) == (200, "ANALITICO")
        assert fake.observed.bodies[-1]["messages"][0]["content"].startswith(text)
        assert seconds < 10
    async with both(LKN_MAX_BODY_BYTES="1024") as (_, running):
        answer = await running.chat(text="x" * 5000)
        assert (answer.status, answer.json["error"]["code"]) == (413, "too_large")


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example:8000", "", "[::2]"])
async def test_a_rebound_host_is_refused(host: str) -> None:
    async with both() as (fake, running):
        answer = await running.post("/v1/chat/completions", {"messages": []}, {"host": host})
        assert answer.status in {400, 421}
        assert (await running.get("/v1/models", {"origin": "https://evil.example"})).status == 403
        assert (await running.get("/v1/models", {"origin": "http://localhost:3000"})).status == 403
        assert (await running.get("/v1/models", {"sec-fetch-site": "cross-site"})).status == 403
        own = {"host": "localhost:8000", "origin": "http://localhost:8000", "sec-fetch-site": "same-origin"}
        assert (await running.get("/v1/models", own)).status == 200
        assert fake.observed.counts["requests"] == 0


async def test_a_flood_is_shed_with_429_user_interface_calls_first() -> None:
    variables = {
        "LKN_MAX_IN_FLIGHT": "2",
        "LKN_MAX_QUEUE": "4",
        "LKN_TOTAL_TIMEOUT_S": "9",
        "LKN_FIRST_TOKEN_TIMEOUT_S": "9",
    }
    async with both(Script(first_token_ms=300), **variables) as (fake, running):
        titles = [asyncio.create_task(running.chat(headers={"x-openwebui-task": "title_generation"})) for _ in range(6)]
        await asyncio.sleep(0.1)
        people = [asyncio.create_task(running.chat()) for _ in range(4)]
        title_statuses = [(await task).status for task in titles]
        person_statuses = [(await task).status for task in people]
        assert person_statuses == [200] * 4
        assert title_statuses.count(429) >= 2
        settled(fake, running)


async def test_models_come_from_memory_while_the_engine_is_away() -> None:
    async with engine() as fake, gateway_before(fake.url) as running:
        assert (await running.get("/v1/models")).headers["x-lkn-models"] == "fresh"
        await fake.stop()
        answer = await running.get("/v1/models")
        assert (answer.status, answer.headers["x-lkn-models"]) == (200, "cached")
        assert answer.json["data"][0]["id"] == "fake-model"


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b'"x"', b"{}", b'{"messages": 3}', b'{"messages": [1, null]}', b"\xff"]
)
async def test_a_request_that_is_none_is_a_400_or_reaches_the_engine_as_it_is(body: bytes) -> None:
    async with both() as (_, running):
        answer = await running.post("/v1/chat/completions", body)
        assert answer.status in {200, 400}
        assert "error" in answer.json or "choices" in answer.json
