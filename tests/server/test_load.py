"""Many clients at once, a third of them leaving in the middle: nothing leaks, no answer is another's. Linux counts."""

from __future__ import annotations

import asyncio
import json
import os
import random
from pathlib import Path

import aiohttp
import pytest

from vortex.backends.fake import FakeBackend, Pace

CLIENTS = 64
SECONDS = float(os.environ.get("VORTEX_LOAD_SECONDS", "20"))
GROWTH_LIMIT_BYTES = 30 * 2**20


async def client(session: aiohttp.ClientSession, number: int, until_s: float, counts: dict[str, int]) -> None:
    draw = random.Random(number)
    while asyncio.get_running_loop().time() < until_s:
        text = f"client {number} says {draw.random()} " * 4
        body = {"messages": [{"role": "user", "content": text}], "stream": draw.random() < 0.7}
        leaves = draw.random() < 1 / 3
        async with session.post("/v1/chat/completions", json=body) as response:
            assert response.status == 200, await response.text()
            if leaves:
                await response.content.read(200)
                response.close()
                counts["left"] += 1
                continue
            answer = (await response.read()).decode()
        assert (streamed(answer) if body["stream"] else whole(answer)) == f"You said: {text.strip()}"
        counts["answered"] += 1


def whole(answer: str) -> str:
    return json.loads(answer)["choices"][0]["message"]["content"]


def streamed(answer: str) -> str:
    *frames, done, rest = answer.split("\n\n")
    assert (done, rest) == ("data: [DONE]", "")
    chunks = [json.loads(frame.removeprefix("data: ")) for frame in frames]
    return "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks)


def held() -> tuple[int, int]:
    """Open file handles and resident bytes of this process, which holds server and clients."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return len(list(Path("/proc/self/fd").iterdir())), pages * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.long
async def test_nothing_leaks_under_load(serve) -> None:
    backend = FakeBackend(pace=Pace(first_ms=5, token_ms=2))
    server = serve(backend)
    counts = {"answered": 0, "left": 0}

    async def storm(seconds: float) -> None:
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(str(server.base_url), connector=connector) as session:
            until_s = asyncio.get_running_loop().time() + seconds
            await asyncio.gather(*(client(session, number, until_s, counts) for number in range(CLIENTS)))
        await asyncio.sleep(1)
        backend.requests.clear()  # the fake remembers them for tests

    await storm(SECONDS / 4)  # the first storm fills pools and caches
    files, resident_bytes = held()
    await storm(SECONDS)
    assert counts["left"] > counts["answered"] / 5, counts
    assert (await backend.status()).active == 0
    assert "vortex_active_answers 0.0" in server.get("/metrics").text
    files_after, resident_bytes_after = held()
    assert files_after <= files + 5
    assert resident_bytes_after < resident_bytes + GROWTH_LIMIT_BYTES
    print(f"{counts}, {files_after - files} more files, {resident_bytes_after - resident_bytes} more bytes")
