"""Open WebUI, unchanged, in a real browser: a chat through `vortex serve` whose title the model finds.

VORTEX_OPEN_WEBUI   the program `open-webui` of an environment in which `pip install open-webui` was run
VORTEX_PICTURE      also keep a picture of the chat there (docs/images/open-webui.png)
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.browser.chromium import Page, browser, program

START_S, ANSWER_S = 600.0, 300.0
QUESTION = "What is the capital of France?"
ANSWER = "document.querySelector('.chat-assistant')?.innerText.trim()"
CLOSE_NEWS = "[...document.querySelectorAll('[role=dialog] button')].at(-1)?.click()"
TITLE = "['New Chat', 'Open WebUI'].includes(document.title.split(' • ')[0]) ? '' : document.title.split(' • ')[0]"
NEWS_S = 30  # until the news of the program's version are on the page, where it shows any


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@contextmanager
def serving(data: Path) -> Iterator[str]:
    command = [sys.executable, "-m", "vortex", "serve", "--port", "0"]
    environment = {**os.environ, "VORTEX_DATA": str(data)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().split()[-1]
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


@contextmanager
def open_webui(engine_url: str, data: Path) -> Iterator[str]:
    """The program for one person, without a network, with nothing of its own models."""
    data.mkdir()
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | {
        "DATA_DIR": str(data),
        "WEBUI_AUTH": "False",
        "OPENAI_API_BASE_URL": engine_url,
        "OPENAI_API_KEY": "none",
        "ENABLE_OLLAMA_API": "False",
        "OFFLINE_MODE": "True",
        "HF_HUB_OFFLINE": "1",
        "RAG_EMBEDDING_ENGINE": "openai",
    }
    port = free_port()
    command = [os.environ["VORTEX_OPEN_WEBUI"], "serve", "--host", "127.0.0.1", "--port", str(port)]
    log = data / "log"
    with log.open("w") as to, subprocess.Popen(command, stdout=to, stderr=to, env=environment, cwd=data) as process:
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(60)


async def alive(url: str) -> None:
    deadline = asyncio.get_running_loop().time() + START_S
    while True:
        try:
            await asyncio.to_thread(urllib.request.urlopen, f"{url}/health", timeout=5)
            return
        except (urllib.error.URLError, OSError):
            assert asyncio.get_running_loop().time() < deadline, "Open WebUI did not start"
            await asyncio.sleep(1)


async def chat(page: Page, url: str) -> tuple[str, str]:
    """The answer on the page, and the chat's title."""
    await page.open(url)
    await page.until("document.querySelector('#chat-input') !== null", START_S)
    for _ in range(NEWS_S):
        await page.evaluate(CLOSE_NEWS)
        await asyncio.sleep(1)
    await page.evaluate("document.querySelector('#chat-input').focus()")
    await page.type(QUESTION)
    await page.press_enter()
    await page.until(f"({ANSWER} || '').includes('Paris')", ANSWER_S)
    title = await page.until(TITLE, ANSWER_S)
    return str(await page.evaluate(ANSWER)), str(title)


@pytest.mark.peer
async def test_a_chat_with_a_title_of_its_own(tmp_path: Path) -> None:
    assert program() is not None, "Chromium is not installed"
    assert os.environ.get("VORTEX_OPEN_WEBUI"), "VORTEX_OPEN_WEBUI is not set: the test was asked for, see the top"
    with serving(tmp_path / "episodes") as engine_url, open_webui(engine_url, tmp_path / "webui") as url:
        await alive(url)
        async with browser(tmp_path / "chromium") as page:
            answer, title = await chat(page, url)
            if picture := os.environ.get("VORTEX_PICTURE"):
                await asyncio.sleep(1)  # until what moves on the page has come to rest
                await page.picture(Path(picture))
    assert "Paris" in answer
    assert title != QUESTION
