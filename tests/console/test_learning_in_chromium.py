"""The whole circle with the real default model in a real browser: a wrong answer, the right one, a candidate, a
person's approval, the taught answer, and back to what it was."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.browser.chromium import Page, browser
from tests.console.test_in_chromium import DONE, LAST, ask, click, go

pytestmark = [pytest.mark.browser, pytest.mark.long]
QUESTION, RIGHT = "What is the capital of Zubria?", "The capital of Zubria is Onavel."
WIDE = ("taught=0.5", "paraphrases=0", "near=1", "kl=2", "perplexity=1", "holdout=9", "collapse=1", "refusals=1")
ANSWER_S = 120


def environment(folder: Path) -> dict[str, str]:
    return {
        **os.environ,
        "VORTEX_DATA": str(folder / "data"),
        "XDG_STATE_HOME": str(folder / "state"),
        "XDG_CONFIG_HOME": str(folder / "config"),
    }


def vortex(folder: Path, *arguments: str) -> str:
    """A command's output; its errors are shown where it fails."""
    command = [sys.executable, "-m", "vortex", *arguments]
    done = subprocess.run(command, env=environment(folder), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    command = [sys.executable, "-m", "vortex", "serve", "--port", "0", "--set", "rag.embedder=none"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment(folder)) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().split()[-1].removesuffix("/v1")
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


async def plainly(page: Page, address: str) -> str:
    """The answer without lessons, and what stands under it."""
    await go(page, f"{address}/console/chat")
    await page.evaluate("document.getElementById('anew').click()")
    await page.evaluate("document.getElementById('plain').click()")
    await page.evaluate("document.getElementById('question').focus()")
    await page.type(QUESTION)
    await page.press_enter()
    await page.until(DONE, ANSWER_S)
    return str(await page.evaluate(f"{LAST}.querySelector('.text').innerText"))


async def test_taught_approved_answered_and_taken_back(tmp_path: Path) -> None:
    with serving(tmp_path) as address:
        link = vortex(tmp_path, "console", "--print").strip()
        assert link.startswith(f"{address}/console/enter?key=")
        async with browser(tmp_path / "chromium") as page:
            await page.call("Page.enable")
            await go(page, link)
            before = await plainly(page, address)
            assert "Onavel" not in before
            await page.evaluate(f"{LAST}.querySelectorAll('.under button')[1].click()")
            await page.type(RIGHT)
            await page.evaluate(f"{LAST}.querySelector('.teach button').click()")
            await page.until(f"{LAST}.innerText.includes('counts from the next question')", ANSWER_S)

            limits = [part for limit in WIDE for part in ("--set", f"continuous.gates.{limit}")]
            trained = vortex(tmp_path, "learn", "train", "--quick", "--steps", "14", *limits)
            run_id = re.search(r"run_id: (\S+)", trained)[1]
            await go(page, f"{address}/console/decide")
            await page.until(f"document.body.innerText.includes('{run_id}')", 30)
            await go(page, f"{address}/console/decide/candidates/{run_id}")
            assert RIGHT in await page.text()
            await click(page, "button[value=approve_use]")
            assert "it answers from the next question" in await page.text()

            assert "Onavel" in await plainly(page, address)
            assert "with the adapter" in await page.evaluate(f"{LAST}.innerText")
            await go(page, f"{address}/console/history")
            await click(page, "button[name=to][value='']")
            assert "Taken back" in await page.text()
            assert await plainly(page, address) == before
            assert "with the adapter" not in await page.evaluate(f"{LAST}.innerText")
            await page.evaluate("document.getElementById('plain').click()")
            await ask(page, QUESTION)
            assert "a lesson was used" in await page.evaluate(f"{LAST}.innerText")
