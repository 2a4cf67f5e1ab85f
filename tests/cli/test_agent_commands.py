"""The agent's commands, from the line that a person types to exit codes and files. No model is needed: changes that a
program makes suffice for these faults."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.long  # interpreters are started behind walls
FAULTY = "def largest(values):\n    return min(values)\n"
TESTS = "from numbers_of import largest\n\n\ndef test_largest():\n    assert largest([1, 5, 3]) == 5\n"
NO_MODEL = ("--set", "model.backend=fake")


def vortex(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "VORTEX_DATA": str(folder.parent / "data")}
    command = [sys.executable, "-m", "vortex", *arguments]
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, env=environment, check=False, timeout=300
    )


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    (folder / "src").mkdir(parents=True)
    (folder / "tests").mkdir()
    (folder / "src/numbers_of.py").write_text(FAULTY)
    (folder / "tests/test_numbers.py").write_text(TESTS)
    for command in (["init", "-q"], ["add", "-A"], ["commit", "-q", "-m", "Begin"]):
        identity = ["-c", "user.name=t", "-c", "user.email=t@localhost"]
        subprocess.run(["git", *identity, *command], cwd=folder, check=True, capture_output=True)
    return folder


@pytest.mark.parametrize("seed", [0, 1])
def test_the_demo_mends_a_bug_and_its_tests_pass(tmp_path: Path, seed: int) -> None:
    place = tmp_path / "demo"
    done = vortex(tmp_path, "agent-demo", "--seed", str(seed), "--folder", str(place), "--json", *NO_MODEL)
    assert done.returncode == 0, done.stderr
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert events[-1]["passed"] is True
    assert {"repository", "documents", "reproduce", "patch", "tests", "end"} <= {event["event"] for event in events}
    assert (place / "README.md").exists()
    refused = vortex(tmp_path, "agent-demo", "--folder", str(place), *NO_MODEL)
    assert refused.returncode == 1
    assert "not empty" in refused.stderr


def test_a_run_changes_nothing_without_a_word_and_mends_with_one(project: Path) -> None:
    shown = vortex(project, "agent-run", "--task", "Fix failing test", *NO_MODEL)
    assert shown.returncode == 1
    assert "+    return max(values)" in shown.stdout
    assert (project / "src/numbers_of.py").read_text() == FAULTY
    foreign = vortex(
        project, "agent-run", "--task", "Fix it", "--role", "Architect & Evidence Auditor", "--yes", *NO_MODEL
    )
    assert foreign.returncode == 1
    assert "is not of the role" in foreign.stderr
    task = "Rol: Gateway Core & Homeostatic Logic\nTarea: Arregla la prueba que falla"
    done = vortex(project, "agent-run", "--task", task, "--yes", "--json", *NO_MODEL)
    assert done.returncode == 0, done.stderr
    assert "max(values)" in (project / "src/numbers_of.py").read_text()
    assert "Gateway Core" in (project / "docs/evidence_log.md").read_text()
    assert json.loads(done.stdout.splitlines()[-1])["applied"] is True
    assert vortex(project, "agent-run", "--task", "Fix failing test", "--yes", *NO_MODEL).returncode == 0


def test_a_repository_with_a_policy_of_its_own_requires_a_role(project: Path) -> None:
    (project / "antigravity").mkdir()
    (project / "antigravity/roles.yaml").write_text("roles:\n  - name: Core\n    paths: ['src/']\n")
    refused = vortex(project, "agent-run", "--task", "Fix failing test", "--yes", *NO_MODEL)
    assert refused.returncode == 1
    assert "requires a role" in refused.stderr
    assert (project / "src/numbers_of.py").read_text() == FAULTY
    assert vortex(project, "agent-run", "--task", "Rol: Core\nFix the test", "--yes", *NO_MODEL).returncode == 0


def test_a_self_patch_is_proposed_shown_rejected_and_applied(project: Path) -> None:
    dry = vortex(project, "self-patch", "--goal", "fix failing test", "--dry-run", *NO_MODEL)
    assert dry.returncode == 0, dry.stderr
    assert vortex(project, "self-patch", "list").stdout == ""
    made = vortex(project, "self-patch", "--goal", "fix failing test", "--json", *NO_MODEL)
    end = json.loads(made.stdout.splitlines()[-1])
    name = end["queued"]
    assert json.loads(vortex(project, "self-patch", "list", "--json").stdout)["state"] == "proposed"
    assert "max(values)" in json.loads(vortex(project, "self-patch", "show", name, "--json").stdout)["diff"]
    assert vortex(project, "apply-patch", name).returncode == 1
    applied = vortex(project, "apply-patch", name, "--approve", "--json")
    assert applied.returncode == 0, applied.stderr
    assert json.loads(applied.stdout)["branch"] == f"self-patch/{name}"
    assert (project / "src/numbers_of.py").read_text() == FAULTY
    assert vortex(project, "self-patch", "reject", name).returncode == 1
    assert "applied" in vortex(project, "self-patch", "list").stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("agent-run",), "needs --task"),
        (("agent-run", "--task", "x", "--mode", "y"), "choose auto, led or free"),
        (("agent-run", "--task", "x", "--role", "Boss"), "no role 'Boss'"),
        (("agent-run", "--task", "Rol: Boss"), "the task is empty"),
        (("self-patch",), "needs --goal"),
        (("self-patch", "show", "nothing"), "no patch id"),
        (("agent-run", "--replay", "none.jsonl"), "no trajectory"),
    ],
)
def test_what_cannot_be_done_is_one_line(project: Path, arguments: tuple[str, ...], message: str) -> None:
    done = vortex(project, *arguments, *(NO_MODEL if arguments[-1] != "nothing" else ()))
    assert done.returncode != 0
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
