"""Hostile files of every format: an answer or one line, within limits of time and memory (tests/fuzz/run.py)."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz.targets import TARGETS

ROOT = Path(__file__).parents[2]


def fuzz(*arguments: str) -> list[dict[str, object]]:
    """Figures of each format, from a process of its own, since the limits are a process's."""
    command = [sys.executable, "-m", "tests.fuzz.run", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode in {0, 1}, f"the process died ({done.returncode}): {done.stderr[-500:]}"
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.skipif(sys.platform != "linux", reason="limits of memory are set the way of Linux")
def test_a_few_hostile_files_of_every_format() -> None:
    found = fuzz("--seed", "1", "--cases", "12", "--minutes", "0.5")
    assert [figures["format"] for figures in found] == list(TARGETS)
    assert [(figures["format"], figures["failed"]) for figures in found if figures["failures"]] == []
    assert all(figures["cases"] == 12 for figures in found)


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="limits of memory are set the way of Linux")
def test_a_minute_of_hostile_files() -> None:
    found = fuzz("--seed", "21", "--cases", "250", "--minutes", "1")  # README: what other seeds still find
    assert [(figures["format"], figures["failed"]) for figures in found if figures["failures"]] == []
    assert all(int(str(figures["cases"])) >= 20 and figures["refused"] for figures in found)
