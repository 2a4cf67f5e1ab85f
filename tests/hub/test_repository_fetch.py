"""Hugging Face repositories: the real client against a small server that speaks the hub's protocol."""

from __future__ import annotations

import hashlib
import http.server
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import pytest

COMMIT = "a" * 40
FILES = {
    "config.json": b"{}",
    "model.safetensors": b"x" * 3000,
    "tokenizer.json": b"{}",
    "pytorch_model.bin": b"a pickle",
    "original/model.safetensors": b"twice",
}
GGUFS = {
    "README.md": b"x",
    "mmproj-F16.gguf": b"GGUF eyes",
    "Tiny-Q4_K_M.gguf": b"GGUF four",
    "Tiny-IQ2_XS.gguf": b"GGUF two",
    "split/Tiny-Q8_0-00001-of-00002.gguf": b"GGUF one of",
    "split/Tiny-Q8_0-00002-of-00002.gguf": b"GGUF two of",
}
LORA = {"adapter_config.json": b"{}", "adapter_model.safetensors": b"y" * 500, "adapter_model.bin": b"a pickle"}
PICKLED = {"config.json": b"{}", "pytorch_model.bin": b"a pickle"}
SCRIPT = """
import json, sys
from vortex.errors import VortexError
from vortex.hub.names import list_models, remove_model, resolve
from vortex.hub.progress import no_progress
from vortex.hub.repository_fetch import fetch_adapter
for line in sys.stdin:
    action, name = line.split()
    try:
        if action == "resolve":
            model = resolve(name)
            folder = model.path if model.path.is_dir() else model.path.parent
            names = sorted(path.name for path in folder.iterdir())
            print(json.dumps([model.licence, names if model.path.is_dir() else [model.name, *names]]), flush=True)
        elif action == "adapter":
            print(json.dumps(sorted(path.name for path in fetch_adapter(name, no_progress).iterdir())), flush=True)
        elif action == "list":
            print(json.dumps([model.name for model in list_models()]), flush=True)
        else:
            print(remove_model(name).freed_bytes, flush=True)
    except VortexError as error:
        print(type(error).__name__, error, flush=True)
"""


class Hub(http.server.BaseHTTPRequestHandler):
    """Three public repositories and one behind terms."""

    def log_message(self, *_: object) -> None:
        """Silence."""

    def do_HEAD(self) -> None:
        self.answer(with_body=False)

    def do_GET(self) -> None:
        self.answer(with_body=True)

    def answer(self, *, with_body: bool) -> None:
        path = self.path.split("?")[0]
        kinds = {"/pickled": PICKLED, "/lora": LORA, "/ggufs": GGUFS}
        files = next((held for part, held in kinds.items() if part in path), FILES)
        body, status, headers = b"", 200, {}
        if path.startswith(tuple(f"/api/models/tiny/{name}" for name in ("model", "pickled", "lora", "ggufs"))):
            rows = [
                {"type": "file", "path": name, "size": len(data), "oid": digest(data)} for name, data in files.items()
            ]
            siblings = [{"rfilename": name, "size": len(data)} for name, data in files.items()]
            info = {"id": "tiny/model", "sha": COMMIT, "siblings": siblings, "cardData": {"license": "mit"}, "tags": []}
            body = json.dumps(rows if "/tree/" in path else info).encode()
        elif path.startswith(tuple(f"/tiny/{name}/resolve/" for name in ("model", "lora", "ggufs"))):
            body = files[path.split("/", 5)[5]]
            headers = {"X-Repo-Commit": COMMIT, "ETag": f'"{digest(body)}"'}
        elif "/gated" in path:
            status, headers = 403, {"X-Error-Code": "GatedRepo"}
        else:
            status, headers = 404, {"X-Error-Code": "RepoNotFound"}
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body if with_body else b"")


def digest(data: bytes) -> str:
    return hashlib.sha1(data).hexdigest()


@pytest.fixture
def server() -> Iterator[http.server.ThreadingHTTPServer]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def run(lines: list[str], home: Path, endpoint: str, **environment: str) -> list[str]:
    """Answers of a fresh process, since the client reads its environment when it is imported."""
    variables = {"HF_ENDPOINT": endpoint, "HF_HOME": str(home / "hf"), "VORTEX_HOME": str(home / "vortex")}
    process = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        input="\n".join(lines),
        env={**os.environ, **variables, "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_XET": "1", **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return process.stdout.splitlines()


def test_a_repository_is_fetched_found_offline_and_deleted(
    server: http.server.ThreadingHTTPServer, tmp_path: Path
) -> None:
    endpoint = f"http://127.0.0.1:{server.server_port}"
    names = ["tiny/none", "tiny/gated", "tiny/pickled", "tiny/model"]
    none, gated, pickled, model = run([f"resolve {name}" for name in names], tmp_path, endpoint)
    assert none.startswith("ModelNotFound there is no repository 'tiny/none'")
    assert gated.startswith("DownloadError tiny/gated asks you to accept its terms")
    assert pickled.startswith("UnsupportedModel tiny/pickled holds no config.json with *.safetensors")
    assert json.loads(model) == ["mit", ["config.json", "model.safetensors", "tokenizer.json"]]

    offline = [
        "resolve tiny/model",
        "list .",
        "resolve tiny/other",
        "remove tiny/model",
        "list .",
        "resolve tiny/model",
    ]
    again, listed, other, freed, empty, gone = run(offline, tmp_path, "http://127.0.0.1:9", HF_HUB_OFFLINE="1")
    assert (again, json.loads(listed)) == (model, ["tiny/model"])
    assert "HF_HUB_OFFLINE forbids the network" in other
    assert (int(freed) > 3000, json.loads(empty)) == (True, [])
    assert "HF_HUB_OFFLINE forbids the network" in gone
    assert not list((tmp_path / "hf").rglob("*.safetensors"))


def test_of_an_adapters_repository_its_two_files_are_fetched(
    server: http.server.ThreadingHTTPServer, tmp_path: Path
) -> None:
    endpoint = f"http://127.0.0.1:{server.server_port}"
    lora, model = run(["adapter tiny/lora", "adapter tiny/model"], tmp_path, endpoint)
    assert json.loads(lora) == ["adapter_config.json", "adapter_model.safetensors"]
    assert model.startswith("AdapterError tiny/model is no adapter in peft's format: it holds no adapter_config.json")


def test_no_network_is_one_line(tmp_path: Path) -> None:
    (line,) = run(["resolve tiny/model"], tmp_path, "http://127.0.0.1:9")
    assert line.startswith("DownloadError tiny/model cannot be fetched")
    assert "check the network" in line


def test_quantisations_of_a_repository_are_fetched_one_by_one(
    server: http.server.ThreadingHTTPServer, tmp_path: Path
) -> None:
    endpoint = f"http://127.0.0.1:{server.server_port}"
    names = ["tiny/ggufs:Q3_K_L", "tiny/model:Q4_K_M", "hf.co/tiny/ggufs:q8_0", "tiny/ggufs"]
    absent, no_gguf, split, usual = run([f"resolve {name}" for name in names], tmp_path, endpoint)
    assert absent.startswith("ModelNotFound tiny/ggufs has no Q3_K_L; there are: IQ2_XS, Q4_K_M, Q8_0")
    assert no_gguf.startswith("ModelNotFound tiny/model has no Q4_K_M; there are: none")
    assert json.loads(split) == ["mit", ["tiny/ggufs:Q8_0", *(f"Tiny-Q8_0-0000{n}-of-00002.gguf" for n in (1, 2))]]
    assert json.loads(usual)[1] == ["tiny/ggufs", "Tiny-Q4_K_M.gguf", "split"]

    lines = ["resolve tiny/ggufs:Q8_0", "list .", "remove tiny/ggufs:Q8_0", "list .", "resolve tiny/ggufs:Q8_0"]
    again, listed, freed, left, gone = run(lines, tmp_path, "http://127.0.0.1:9", HF_HUB_OFFLINE="1")
    assert (again, json.loads(listed)) == (split, ["tiny/ggufs", "tiny/ggufs:Q8_0"])
    assert int(freed) > len(b"".join(GGUFS[name] for name in GGUFS if "split" in name))
    assert json.loads(left) == ["tiny/ggufs"]
    assert "HF_HUB_OFFLINE forbids the network" in gone
    assert [path.name for path in (tmp_path / "hf").rglob("*.gguf")] == ["Tiny-Q4_K_M.gguf"]
