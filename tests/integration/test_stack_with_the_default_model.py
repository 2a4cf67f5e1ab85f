"""`vortex up`, `smoke`, `down` with the real default engine: the first minute of somebody without a GPU."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@pytest.mark.long
def test_up_smoke_down(tmp_path: Path) -> None:
    variables = {
        "PYTHONPATH": str(ROOT / "src"),
        "ENGINE_BASE_URL": f"http://127.0.0.1:{free_port()}",
        "LKN_PORT": str(free_port()),
    }

    def vortex(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "vortex", *words]
        environment = {**os.environ, **variables}
        return subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=900
        )

    try:
        up = vortex("up", "--no-ui")
        assert up.returncode == 0, up.stderr
        smoke = vortex("smoke")
        assert smoke.returncode == 0, smoke.stdout
    finally:
        down = vortex("down", "--no-ui")
    assert down.returncode == 0, down.stderr
    left = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert variables["ENGINE_BASE_URL"].rpartition(":")[2] not in left, "no process is left"
    assert str(tmp_path) not in left
