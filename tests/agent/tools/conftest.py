"""A small project to work on, and the walls around it."""

from __future__ import annotations

from pathlib import Path

import pytest

from vortex.agent.tools.workspace import Workspace


@pytest.fixture
def project(tmp_path: Path) -> Path:
    project = tmp_path / "project"
    for name, content in {
        "README.md": "# Sums\n\nAdds numbers.\n",
        "sums.py": "def add(first, second):\n    return first - second\n\n\n"
        "def twice(number):\n    return add(number, number)\n",
        "tests/test_sums.py": "from sums import add\n\n\ndef test_add():\n    assert add(2, 3) == 5\n",
        "deep/er/still/file.txt": "far away\n",
        ".git/config": "[core]\n",
    }.items():
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text(content)
    (tmp_path / "secret.txt").write_text("outside")
    return project


@pytest.fixture
def workspace(project: Path, tmp_path: Path) -> Workspace:
    return Workspace(project, log=tmp_path / "runs.jsonl")
