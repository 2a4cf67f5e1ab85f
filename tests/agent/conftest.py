"""Small repositories to work in."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

FAULTY = '''"""Numbers."""


def largest(values):
    """The largest of the values, None where there are none."""
    best = None
    for value in values:
        if best is None or value < best:
            best = value
    return best


def mean(values):
    """The mean of the values."""
    return sum(values) / len(values)
'''
TESTS = """from numbers_of import largest, mean


def test_largest():
    assert largest([1, 5, 3]) == 5


def test_largest_of_none():
    assert largest([]) is None


def test_mean():
    assert mean([1, 3]) == 2
"""

MakeRepository = Callable[..., Path]


@pytest.fixture
def make_repository(tmp_path: Path) -> MakeRepository:
    """Files by path; the usual faulty module with its tests where nothing is said. `git`: committed too."""

    def make(files: dict[str, str] | None = None, *, git: bool = False, name: str = "project") -> Path:
        folder = tmp_path / name
        folder.mkdir()
        usual = {"numbers_of.py": FAULTY, "tests/test_numbers.py": TESTS}
        for path, text in (usual if files is None else files).items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text)
        if git:
            for command in (["init", "-q"], ["add", "-A"], ["commit", "-q", "-m", "Begin"]):
                identity = ["-c", "user.name=t", "-c", "user.email=t@localhost"]
                subprocess.run(["git", *identity, *command], cwd=folder, check=True, capture_output=True)
        return folder

    return make
