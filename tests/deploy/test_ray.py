"""The program that Ray Serve runs, with the scripted model: two replicas, OpenAI's shapes, one of them killed."""

from __future__ import annotations

import json
import os
import subprocess
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
VICTIM = """
import os, ray
from ray.util.state import list_actors
ray.init(address="auto", log_to_driver=False)
replicas = [one for one in list_actors() if "vortex" in one.name and "Replica" in one.class_name + one.name]
assert len(replicas) >= 2, replicas
os.kill(replicas[0].pid, 9)
"""


def ask(url: str, **fields: Any) -> tuple[int, bytes]:
    body = {"model": "fake", "messages": [{"role": "user", "content": "hello"}], **fields}
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
        "0",
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
        assert status == 200
        assert json.loads(whole)["choices"][0]["message"]["role"] == "assistant"
        status, stream = ask(running.url, stream=True)
        assert status == 200
        assert stream.startswith(b"data: {")
        assert stream.endswith(b"data: [DONE]\n\n")
        status, refused = ask(running.url, max_tokens=-1)
        assert status == 400
        assert set(json.loads(refused)["error"]) >= {"message", "type", "param", "code"}
        killed = subprocess.run([sys.executable, "-P", "-c", VICTIM], env={**os.environ, **variables}, check=False)
        assert killed.returncode == 0
        with ThreadPoolExecutor(4) as pool:
            statuses = list(pool.map(lambda _: ask(running.url)[0], range(40)))
        assert statuses == [200] * 40
