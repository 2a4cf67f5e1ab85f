"""A headless Chromium driven over its own debugging protocol: open, evaluate, type, press, picture. Nothing more."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import shutil
import subprocess
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

START_S = 60


class Page:
    """One tab."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._number = 0
        self.events: list[dict[str, Any]] = []  # what the page told unasked, since the last look

    async def call(self, method: str, **arguments: Any) -> dict[str, Any]:
        """One command of the protocol and its result; events in between are kept."""
        self._number += 1
        await self._socket.send_json({"id": self._number, "method": method, "params": arguments})
        while True:
            message = await self._socket.receive_json()
            if "method" in message:
                self.events.append(message)
            if message.get("id") == self._number:
                assert "error" not in message, message["error"]
                return message["result"]

    async def open(self, url: str) -> None:
        await self.call("Page.enable")
        await self.call("Page.navigate", url=url)

    async def evaluate(self, script: str) -> Any:
        return (await self.call("Runtime.evaluate", expression=script, returnByValue=True))["result"].get("value")

    async def until(self, script: str, seconds: float) -> Any:
        """The first truthy value of a script. Fails with what the page shows."""
        deadline = asyncio.get_running_loop().time() + seconds
        while not (value := await self.evaluate(script)):
            if asyncio.get_running_loop().time() > deadline:
                raise AssertionError(f"{script}\nnever held; the page says:\n{(await self.text())[:2000]}")
            await asyncio.sleep(0.2)
        return value

    async def text(self) -> str:
        return str(await self.evaluate("document.body.innerText"))

    async def type(self, text: str) -> None:
        """Into what has the focus."""
        await self.call("Input.insertText", text=text)

    async def press_enter(self) -> None:
        await self._press({"key": "Enter", "code": "Enter", "windowsVirtualKeyCode": 13, "text": "\r"})

    async def press_tab(self) -> None:
        await self._press({"key": "Tab", "code": "Tab", "windowsVirtualKeyCode": 9})

    async def _press(self, key: dict[str, Any]) -> None:
        await self.call("Input.dispatchKeyEvent", type="keyDown", **key)
        await self.call("Input.dispatchKeyEvent", type="keyUp", **key)

    async def picture(self, path: Path) -> None:
        shot = await self.call("Page.captureScreenshot", format="png")
        path.write_bytes(base64.b64decode(shot["data"]))


def program() -> str | None:
    return shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@asynccontextmanager
async def browser(folder: Path, size: tuple[int, int] = (1100, 760)) -> AsyncIterator[Page]:
    """A fresh profile in `folder`, gone with the block."""
    command = [program() or "chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0"]
    command += [f"--user-data-dir={folder}", f"--window-size={size[0]},{size[1]}", "--lang=en-US", "about:blank"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            port = next(found[1] for line in process.stderr if (found := re.search(r"ws://127\.0\.0\.1:(\d+)/", line)))
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list", timeout=START_S) as answer:
                tab = next(entry for entry in json.load(answer) if entry["type"] == "page")
            address = tab["webSocketDebuggerUrl"]
            async with aiohttp.ClientSession() as session, session.ws_connect(address, max_msg_size=0) as socket:
                yield Page(socket)
        finally:
            process.terminate()
            process.stderr.close()
