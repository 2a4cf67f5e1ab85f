"""Pictures of each view for the documents, and what the pages weigh and take: for scripts/console_pictures.py.

VORTEX_PICTURES   the folder to draw into
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.browser.chromium import Page
from tests.console.material import FACTS, add_memories, add_patch, add_run
from tests.console.serving import Place, serving
from tests.console.test_in_chromium import DONE, LAST, ask, go, inside
from vortex.backends.fake import FakeBackend
from vortex.cli.console.questions import open_questions
from vortex.types import ChatRequest

pytestmark = [pytest.mark.browser, pytest.mark.long]
WIDTH, HEIGHT = 1040, 780
LOADS = 11
ANSWER = """**Onavel** is the capital of Zubria.

| | Zubria |
|---|---|
| capital | Onavel |
| river | Torv |

Ask for *anything else* you would like to know."""


def script(request: ChatRequest) -> str:
    last = request.messages[-1].content
    return ANSWER if "Onavel" in last else "The capital of Zubria is Zubria City."


async def draw(page: Page, name: str, height: int = HEIGHT) -> None:
    """In the colours of a printed page; twice as sharp would be four times as heavy."""
    await page.call("Emulation.setDeviceMetricsOverride", width=WIDTH, height=height, deviceScaleFactor=1, mobile=False)
    await asyncio.sleep(0.3)
    folder = os.environ.get("VORTEX_PICTURES")
    path = Path(folder or ".") / f"console-{name}.png"
    if folder:
        await page.picture(path)
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
    run_id = add_run(place.runs)
    patch_id = add_patch(place.patches)
    add_memories(place.data / "memory")
    arguments = {"command": ["git", "push", "--force", "origin", "main"], "timeout_s": 60}
    asking = threading.Thread(
        target=lambda: open_questions().ask("run_command", "command", arguments, "run_command asks first", wait_s=60)
    )
    asking.start()
    figures: dict[str, Any] = {}
    with serving(place, FakeBackend(script)) as address:
        async with inside(place, address, tmp_path, (WIDTH, HEIGHT)) as page:
            views = {"chat": "chat", "decide": "decide", "candidate": f"decide/candidates/{run_id}",
                     "patch": f"decide/patches/{patch_id}", "history": "history", "state": "state?doctor=1"}  # fmt: skip
            for name, path in views.items():
                paints = await first_paints(page, f"{address}/console/{path}")
                median, worst = round(statistics.median(paints), 1), round(max(paints), 1)
                figures[name] = {"first_paint_ms": median, "worst_ms": worst, "bytes": await weight(page)}
            await go(page, f"{address}/console/chat")
            await ask(page, FACTS[0][0])
            await page.evaluate(f"{LAST}.querySelectorAll('.under button')[1].click()")
            await page.type(FACTS[0][1])
            await page.evaluate(f"{LAST}.querySelector('.teach button').click()")
            await page.until(f"{LAST}.innerText.includes('counts from the next question')", 20)
            await ask(page, FACTS[0][0])
            await page.until(DONE, 20)
            await draw(page, "chat")
            await go(page, f"{address}/console/decide")
            await draw(page, "decide", 980)
            await go(page, f"{address}/console/decide/candidates/{run_id}")
            await page.evaluate("document.querySelector('#gates').scrollIntoView()")
            await page.evaluate("document.querySelector('#training').closest('section').remove()")
            await page.evaluate("document.querySelector('#taught').closest('section').remove()")
            await draw(page, "candidate", await page.evaluate("document.documentElement.scrollHeight"))
            await page.evaluate("document.querySelector('button[value=approve_use]').click()")
            await page.until("document.body.innerText.includes('it answers from')", 20)
            for name, path in views.items():
                if name in {"patch", "history", "state"}:
                    await go(page, f"{address}/console/{path}")
                    await asyncio.sleep(7 if name == "state" else 0)  # until there are curves
                    await draw(page, name, await page.evaluate("document.documentElement.scrollHeight"))
        (one,) = open_questions().waiting()
        open_questions().answer(one.id, one.hash, allowed=False)
    asking.join()
    print(json.dumps(figures))
    assert all(view["bytes"] <= 150_000 for view in figures.values())
