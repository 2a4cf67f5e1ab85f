"""`vortex c3` as a user runs it: pack, look, verify, find damage by name, plan on paper; a budget changes no answer."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Program, SameProcess
from vortex.c3.format.folder import C3Folder, C3Writer

SIZES = {"a.0": 3 << 20, "b.0": 5000}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    import numpy as np

    with C3Writer(tmp_path / "m.c3", {}) as writer:
        for name, size in SIZES.items():
            writer.add(name, "raw", (size,), np.arange(size, dtype=np.uint32).astype(np.uint8))
    return tmp_path / "m.c3"


def test_inspect_and_verify(inside: SameProcess, folder: Path) -> None:
    shown = json.loads(inside.run("c3", "inspect", str(folder), "--json").stdout)
    assert (shown["tensors"], shown["tiles"], shown["codecs"]) == (2, 3, {"raw": 3})
    assert shown["bytes"] == sum(SIZES.values())
    assert "are as they were written" in inside.run("c3", "verify", str(folder)).stdout
    with C3Folder(folder).weights_path.open("r+b") as file:
        file.seek((2 << 20) + 9)
        file.write(b"\xff")
    damaged = inside.run("c3", "verify", str(folder))
    assert damaged.returncode == 4
    assert "tile 2 of 2 of a.0 fails its checksum" in damaged.stderr


def test_plan_adds_up(inside: SameProcess) -> None:
    run = inside.run("c3", "plan", "gpt-oss-20b", "--ram", "12GB", "--disk", "3.0GB/s", "--json")
    plan = json.loads(run.stdout)
    assert sum(part[1] for part in plan["parts"]) == 12_000_000_000
    assert all(0 < speed["hit_rate"] <= 1 for speed in plan["speeds"])


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("gpt-6", "--ram", "24GB", "--disk", "3GB/s"), "known: gpt-oss-120b"),
        (("gpt-oss-120b", "--ram", "2GB", "--disk", "3GB/s"), "needs at least"),
        (("gpt-oss-120b", "--ram", "much", "--disk", "3GB/s"), "write it like"),
    ],
)
def test_a_plan_that_cannot_be_is_one_line(inside: SameProcess, arguments: tuple[str, ...], expected: str) -> None:
    run = inside.run("c3", "plan", *arguments)
    assert run.returncode == 2
    assert expected in run.stderr
    assert len(run.stderr.splitlines()) == 1


@pytest.mark.long
def test_the_documents_script_is_the_command(vortex: Program) -> None:
    script = Path(__file__).parents[2] / "scripts" / "bench_paged_linear.py"
    arguments = ["--dtype", "bf16", "--accum-fp32", "--width", "256", "--linears", "6"]
    run = subprocess.run(
        [sys.executable, str(script), *arguments], capture_output=True, text=True, env=vortex.environment, check=True
    )
    line = json.loads(run.stdout.splitlines()[-1])
    assert line["measurement"] == "paged-linear"
    assert line["lossless"]["stored_ratio"] <= 0.72
