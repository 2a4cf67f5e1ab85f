"""The distribution is `klimeai`: its old name belongs to another program on the package index, so nothing names it."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
OLD_FORMS = re.compile(
    r"(?<!/)vortex\[[a-z]"  # an extra of the old name
    r"|pip3? install (?:-\S+ )*['\"]?vortex\b"
    r"|(?:uv tool|pipx) (?:install|run) ['\"]?vortex\b"
)


def tracked_texts() -> list[Path]:
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    paths = [ROOT / name for name in names.split("\0") if name]
    return [path for path in paths if path.is_file() and path.suffix not in {".png", ".npz", ".gz", ".safetensors"}]


def test_no_file_names_the_old_distribution() -> None:
    offenders = []
    for path in tracked_texts():
        for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
            if path != Path(__file__) and OLD_FORMS.search(line):
                offenders.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()}")
    assert not offenders


@pytest.mark.parametrize("text", ["pip install 'vortex[hf]'", "pip install -U vortex", "uv tool install vortex"])
def test_the_old_forms_would_be_found(text: str) -> None:
    assert OLD_FORMS.search(text)


def test_the_project_has_its_name_and_both_commands() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["name"] == "klimeai"
    assert set(project["scripts"]) == {"vortex", "klimeai"}


def test_every_extra_that_a_message_or_page_names_exists() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    named = set()
    for path in tracked_texts():
        if path.suffix in {".py", ".md", ".txt"} and "tests" not in path.parts:
            text = path.read_text(encoding="utf-8")
            found = re.findall(r"""klimeai\[([a-z,]+)\]|add_extra\(["']([a-z]+)["']\)|["' ]\.\[([a-z,]+)\]""", text)
            named |= {name for groups in found for group in groups for name in group.split(",") if name}
    assert named >= {"hf", "torch", "train", "dev"}
    assert named <= set(extras)
