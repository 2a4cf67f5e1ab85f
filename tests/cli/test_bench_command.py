"""`vortex bench` as commands: a table, JSON as the last line, files where asked."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

HASH = ("--set", "model.backend=hash")


def test_bare_bench_measures_through_the_engine_and_keeps_the_line(inside) -> None:
    file = inside.folder / "data" / "bench" / "last.json"
    result = inside.run("bench", *HASH, "--max-new", "16", "--runs", "1", "--json-out", str(file))
    assert result.returncode == 0, result.stderr
    line = json.loads(result.stdout.splitlines()[-1])
    assert (line["measurement"], line["model"], line["new_tokens"]) == ("generate", "hash", 16)
    assert line["decode_tokens_per_s"] > 0
    assert json.loads(file.read_text()).keys() == line.keys()


def test_decode_takes_streams_and_draws(inside) -> None:
    pytest.importorskip("matplotlib")
    small = ("--prompt-tokens", "64", "--new-tokens", "4", "--runs", "1")
    result = inside.run("bench", "decode", *HASH, *small, "--streams", "3", "--plot", "plot.png")
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout.splitlines()[-1])["streams"] == 3
    assert (inside.folder / "plot.png").stat().st_size > 1000


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("fidelity", *HASH), "error: hash has no weights to compare; name a model with --model"),
        (("decode", *HASH, "--peer", "llama.cpp", "--peer-python", "/nowhere"), "error: cannot start /nowhere"),
    ],
)
def test_what_cannot_be_measured_is_said(inside, arguments: tuple[str, ...], said: str) -> None:
    result = inside.run("bench", *arguments)
    assert result.returncode != 0
    assert result.stderr.startswith(said)


@pytest.mark.long
def test_a_start_is_timed_from_outside(vortex) -> None:
    # From a small process: Linux counts the parent's memory at its start into a child's peak.
    code = (
        "import json; from vortex.bench.start import StartMeasurement;"
        "from vortex.bench.measurement import run_measurement;"
        "print(json.dumps(run_measurement(StartMeasurement(('--backend', 'fake'), runs=1)).figures))"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code],
        cwd=vortex.folder,
        env=vortex.environment,
        capture_output=True,
        text=True,
        check=True,
    )
    figures = json.loads(ended.stdout.splitlines()[-1])
    assert 0 < figures["first_word_s"] <= figures["total_s"]
    assert 5e6 < figures["peak_resident_bytes"] < 500e6


@pytest.mark.peer
def test_decode_beside_llama_cpp(inside, tmp_path: Path) -> None:
    small = ("--prompt-tokens", "64", "--new-tokens", "8", "--runs", "1")
    result = inside.run("bench", "decode", *small, "--peer", "llama.cpp")
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout.splitlines()[-1])["decode_ratio"] > 0
