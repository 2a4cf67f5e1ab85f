"""Pictures of each view for the documents, and what the pages weigh and take: for scripts/console_pictures.py.

VORTEX_PICTURES   the folder to draw into
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.browser.chromium import Page
from tests.console.material import FACTS, add_memories, add_patch, add_run
from tests.console.serving import Place, serving
from tests.console.test_in_chromium import DONE, LAST, ask, go, inside
from vortex.backends.fake import FakeBackend
from vortex.cli.console.questions import open_questions
from vortex.machine.measured import describe_machine
from vortex.types import ChatRequest

pytestmark = [pytest.mark.browser, pytest.mark.long]
WIDTH, HEIGHT = 1040, 780
LOADS = 11
HEIGHT_OF_ALL = "document.documentElement.scrollHeight"
ASKED, RIGHT, _ = FACTS[1]
ANSWER = """**Ilse Marrow** wrote *The Amber Gate*.

| | |
|---|---|
| title | The Amber Gate |
| author | Ilse Marrow |
"""
MODEL = "smollm2-135m"
TALK = """fetch('/console/api/chat', {
  method: 'POST',
  headers: {
    'content-type': 'application/json',
    'x-console-token': document.querySelector('meta[name=vortex-token]').content,
  },
  body: JSON.stringify({messages: [{role: 'user', content: 'Hello there, how are you?'}]}),
})"""


def script(request: ChatRequest) -> str:
    last = request.messages[-1].content
    return ANSWER if RIGHT in last else "*The Amber Gate* was written by J. K. Rowling."


async def draw(page: Page, name: str, height: int = HEIGHT) -> None:
    """In the colours of a printed page; twice as sharp would be four times as heavy."""
    await page.call("Emulation.setDeviceMetricsOverride", width=WIDTH, height=height, deviceScaleFactor=1, mobile=False)
    await asyncio.sleep(0.3)
    folder = os.environ.get("VORTEX_PICTURES")
    path = Path(folder or ".") / f"console-{name}.png"
    if folder:
        await page.picture(path)
        with Image.open(path) as picture:
            fewer = picture.convert("RGB").quantize(160, dither=Image.Dither.NONE)
        fewer.save(path, optimize=True)  # a page of text needs no more colours
        assert path.stat().st_size < 300_000
    await page.call("Emulation.clearDeviceMetricsOverride")


async def first_paints(page: Page, url: str) -> list[float]:
    """Milliseconds from the request to the first paint, of loads with a cold cache."""
    await page.call("Network.enable")
    await page.call("Network.setCacheDisabled", cacheDisabled=True)
    found = []
    for _ in range(LOADS):
        await go(page, url)
        paint = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime"
        await page.until(f"{paint} > 0", 20)
        found.append(float(await page.evaluate(paint)))
    return found


async def weight(page: Page) -> int:
    entries = "['navigation', 'resource'].flatMap((kind) => performance.getEntriesByType(kind))"
    return int(await page.evaluate(f"{entries}.reduce((sum, one) => sum + one.encodedBodySize, 0)"))


async def test_pictures_of_each_view(place: Place, tmp_path: Path) -> None:
    run_id = add_run(place.runs, model=MODEL)
    patch_id = add_patch(place.patches)
    add_memories(place.data / "memory")
    arguments = {"command": ["git", "push", "--force", "origin", "main"], "timeout_s": 60}
    asking = threading.Thread(
        target=lambda: open_questions().ask("run_command", "command", arguments, "run_command asks first", wait_s=300)
    )
    asking.start()
    figures: dict[str, Any] = {}
    with serving(place, FakeBackend(script, name=MODEL), model=MODEL) as address:
        async with inside(place, address, tmp_path, (WIDTH, HEIGHT)) as page:
            views = {
                "chat": "chat",
                "decide": "decide",
                "candidate": f"decide/candidates/{run_id}",
                "patch": f"decide/patches/{patch_id}",
                "history": "history",
                "state": "state?doctor=1",
            }
            for name, path in views.items():
                paints = await first_paints(page, f"{address}/console/{path}")
                median, worst = round(statistics.median(paints), 1), round(max(paints), 1)
                figures[name] = {"first_paint_ms": median, "worst_ms": worst, "bytes": await weight(page)}
            await go(page, f"{address}/console/chat")
            await ask(page, ASKED)
            await page.evaluate(f"{LAST}.querySelectorAll('.under button')[1].click()")
            await page.type(RIGHT)
            await page.evaluate(f"{LAST}.querySelector('.teach button').click()")
            await page.until(f"{LAST}.innerText.includes('counts from the next question')", 20)
            await ask(page, ASKED)
            await page.until(DONE, 20)
            await draw(page, "chat", 900)
            await go(page, f"{address}/console/decide")
            await draw(page, "decide", 980)
            await go(page, f"{address}/console/decide/candidates/{run_id}")
            await draw(page, "candidate", await page.evaluate(HEIGHT_OF_ALL))
            for part in ("taught", "answers", "training"):
                await page.evaluate(f"document.getElementById('{part}').closest('section').remove()")
            await draw(page, "approval", await page.evaluate(HEIGHT_OF_ALL))
            await page.evaluate("document.querySelector('button[value=approve_use]').click()")
            await page.until("document.body.innerText.includes('it answers from')", 20)
            for name, path in views.items():
                if name in {"patch", "history", "state"}:
                    await go(page, f"{address}/console/{path}")
                    for turn in range(18 if name == "state" else 0):  # until there are curves
                        for _ in range(1 + turn * 7 % 5):
                            await page.evaluate(TALK)
                        await asyncio.sleep(1.2)
                    await draw(page, name, await page.evaluate(HEIGHT_OF_ALL))
        (one,) = open_questions().waiting()
        open_questions().answer(one.id, one.hash, allowed=False)
    asking.join()
    about = {"measurement": "console", "time": datetime.now(UTC).isoformat(timespec="seconds")}
    print(json.dumps({**about, "machine": describe_machine(), "loads": LOADS, "views": figures}))
    assert all(view["bytes"] <= 150_000 for view in figures.values())
