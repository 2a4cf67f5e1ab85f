"""A started `vortex serve` tells how drafts fared, in every answer's `timings` and in total in `/metrics`."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

ROOT = Path(__file__).parent.parent.parent
PASSAGE = "The lamp burned rapeseed oil until 1902 and paraffin until 1934. Since then it has been electric. "
OF_AN_ANSWER = {
    *("num_drafts", "num_draft_tokens", "num_accepted_draft_tokens", "draft_acceptance_rate"),
    *("mean_acceptance_length", "acceptance_histogram_1", "tokens_per_sweep", "mean_entropy_nats"),
}
IN_TOTAL_ALONE = {"draft_ms", "draft_pauses", "drafter_failures", "drafter_bad_ids", "drafter_rests"}


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@pytest.mark.long
def test_a_started_server_tells_how_drafts_fared(tmp_path: Path) -> None:
    port = free_port()
    command = [sys.executable, "-m", "vortex", "serve", "--port", str(port)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    with subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.DEVNULL) as server:
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=120) as client:
                wait_until_ready(client)
                asked = {
                    "messages": [{"role": "user", "content": f"Repeat this word for word, ten times: {PASSAGE * 2}"}],
                    "temperature": 0,
                    "max_tokens": 160,
                }
                timings = client.post("/v1/chat/completions", json=asked).raise_for_status().json()["timings"]
                metrics = client.get("/metrics").raise_for_status().text
        finally:
            server.terminate()
    assert timings.keys() >= OF_AN_ANSWER
    assert timings["tokens_per_sweep"] > 1.2
    assert timings["num_accepted_draft_tokens"] <= timings["num_draft_tokens"]
    total = dict(line.split() for line in metrics.splitlines() if line.startswith("vortex_") and "{" not in line)
    for name in (OF_AN_ANSWER | IN_TOTAL_ALONE) - {"mean_entropy_nats"}:
        assert f"vortex_{name}" in total
    for name in ("num_drafts", "num_draft_tokens", "num_accepted_draft_tokens"):
        assert float(total[f"vortex_{name}"]) == timings[name]


def wait_until_ready(client: httpx.Client) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            if client.get("/readyz").is_success:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.2)
    raise AssertionError("the server did not become ready")
