"""The program that Ray Serve runs, with the scripted model: two replicas, OpenAI's shapes, one of them killed."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import tempfile
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.manifests import ROOT
from vortex.bench.programs import program

SCRIPT = ROOT / "deploy" / "ray" / "serve_vortex.py"


def free_port() -> int:
    """Ray Serve does not say which port it drew, so it is given one."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def replicas() -> list[int]:
    """Process ids, by the title that Ray gives a replica."""
    titles = {path: path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()}
    return [int(path.parent.name) for path, title in titles.items() if title.startswith(b"ray::ServeReplica:vortex")]


def ask(url: str, **fields: Any) -> tuple[int, bytes]:
    body = {"model": "vortex-fake", "messages": [{"role": "user", "content": "hello"}], **fields}
    request = urllib.request.Request(
        f"{url}/v1/chat/completions", json.dumps(body).encode(), {"content-type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return response.status, response.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def test_the_page_of_a_start_says_whom_to_trust() -> None:
    text = SCRIPT.read_text()
    assert "TRUSTED NETWORK ONLY" in text
    assert 'print("Ray' in text


@pytest.mark.long
def test_two_replicas_answer_as_one_server_and_survive_a_death(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-P",
        str(SCRIPT),
        "--replicas",
        "2",
        "--cpus",
        "0.5",
        "--port",
        str(free_port()),
        "--backend",
        "fake",
    ]
    variables = {"RAY_USAGE_STATS_ENABLED": "0", "VORTEX_DATA": str(tmp_path)}
    # a short folder: Ray's sockets lie in it, and a socket's name has 107 bytes
    with (
        tempfile.TemporaryDirectory(prefix="r") as short,
        program(command, variables | {"RAY_TMPDIR": short}) as running,
    ):
        status, whole = ask(running.url)
        assert status == 200, whole
        assert json.loads(whole)["choices"][0]["message"]["role"] == "assistant"
        status, stream = ask(running.url, stream=True)
        assert status == 200
        assert stream.startswith(b"data: {")
        assert stream.endswith(b"data: [DONE]\n\n")
        status, refused = ask(running.url, temperature=9)
        assert status == 400
        assert set(json.loads(refused)["error"]) >= {"message", "type", "param", "code"}
        victims = replicas()
        assert len(victims) == 2
        os.kill(victims[0], signal.SIGKILL)
        with ThreadPoolExecutor(4) as pool:
            statuses = list(pool.map(lambda _: ask(running.url)[0], range(40)))
        assert statuses == [200] * 40
