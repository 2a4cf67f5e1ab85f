"""kill -9 at random moments of a training: the states before the kill are whole, and the end is the same adapter."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

KILLS = 20


@pytest.mark.long
def test_kill_9_at_twenty_random_moments_of_a_training(tmp_path: Path) -> None:
    root = str(Path(__file__).parent.parent.parent)
    ended = subprocess.run(
        [sys.executable, "-m", "tests.learn.training_killed", str(tmp_path), str(KILLS), "26"],
        check=False, cwd=root, env={**os.environ, "PYTHONPATH": root, "OMP_NUM_THREADS": "1"}, capture_output=True,
        text=True,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    told = json.loads(ended.stdout.splitlines()[-1])
    assert len(told["kills"]) == KILLS
    assert any(kill["states"] for kill in told["kills"]), "some fell into the training"
    assert told["adapters"] == 1, "every training that ended, whole or gone on with, has the same adapter"
    assert told["left"] == []
