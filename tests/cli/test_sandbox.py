"""`vortex sandbox`: what the command may touch, and the exit codes that scripts rely on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from vortex.sandbox import probe


@pytest.fixture(autouse=True)
def walls() -> None:
    if not probe("namespaces").available:
        pytest.skip(f"no namespaces here: {probe('namespaces').why_not}")


def vortex_sandbox(folder: Path, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "VORTEX_DATA": str(folder.parent / "state"), "SECRET": "of-the-caller"}
    return subprocess.run(
        [sys.executable, "-m", "vortex", "sandbox", *arguments],
        cwd=folder, env=environment, input=stdin, capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.fixture
def project(tmp_path: Path) -> Path:
    project = tmp_path / "project"
    for name in (".git/hooks/sample", "config/settings.yaml", "data/continuous/quarantine/run/report.json"):
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text("as it was")
    (project / "config/.env").write_text("KEY=of-the-project")
    return project


def test_the_folder_is_writable_and_nothing_else(project: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    script = (
        "echo new > made; cat; cat config/.env; env; "
        "for name in .git/hooks/pre-commit .git/config2 config/settings.yaml data/APPROVE_AUTOPATCH ../other/file; "
        "do echo x > $name && echo wrote $name; done; exit 7"
    )
    done = vortex_sandbox(project, "--", "sh", "-c", script, stdin="from standard input\n")
    assert done.returncode == 7
    assert (project / "made").read_text() == "new\n"
    assert "from standard input" in done.stdout
    assert "of-the" not in done.stdout
    assert [line for line in done.stdout.splitlines() if line.startswith("wrote")] == ["wrote .git/config2"]
    assert list((tmp_path / "other").iterdir()) == []
    line = json.loads((tmp_path / "state/sandbox/runs.jsonl").read_text())
    assert line["exit_code"] == 7
    assert line["granted"]["folder"] == str(project)


def test_where_the_walls_cannot_be_had_nothing_runs_and_the_code_is_125(project: Path) -> None:
    done = vortex_sandbox(project, "--require", "landlock", "--", "touch", "made")
    assert done.returncode == 125
    assert not (project / "made").exists()
    assert done.stderr.startswith("error: sandbox: no walls to be had")


def test_time_and_further_paths(project: Path, tmp_path: Path) -> None:
    for name in ("given", "open"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name)
    script = f"cat {tmp_path}/given/file; echo x > {tmp_path}/given/new; echo x > {tmp_path}/open/new; sleep 60"
    granted = ("--read", str(tmp_path / "given"), "--write", str(tmp_path / "open"))
    done = vortex_sandbox(project, *granted, "--time", "1", "--", "sh", "-c", script)
    assert done.returncode == 124
    assert done.stdout == "given"
    assert "ended the command: time" in done.stderr
    assert not (tmp_path / "given/new").exists()
    assert (tmp_path / "open/new").exists()
