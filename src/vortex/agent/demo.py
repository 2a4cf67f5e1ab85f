"""Small repositories with a fault each, for `vortex agent-demo`: a seed picks the program and the fault.

The faults were written by hand and are not made by the operators that look for them.
"""

from __future__ import annotations

import random
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

DATA = Path(__file__).parent / "data" / "demo.txt"
GIT_IDENTITY = ("-c", "user.name=agent-demo", "-c", "user.email=agent-demo@localhost", "-c", "commit.gpgsign=false")


@dataclass(frozen=True, slots=True)
class Demo:
    """name: of the module. faulty: its text with the fault in it."""

    name: str
    readme: str
    faulty: str
    right: str
    tests: str


def demos() -> list[Demo]:
    """Every program with every fault, in the order of the file."""
    found = []
    for part in re.split(r"^== ", DATA.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]:
        head, code, tests, *faults = re.split(r"^-- (?:code|tests|fault)\n", part, flags=re.MULTILINE)
        name, _, about = head.partition("\n")
        title = name.replace("_", " ").capitalize()
        body = (
            f'"""Tests of {name}."""\n\nimport unittest\n\nimport {name}\n\n\n'
            f"class {title.replace(' ', '')}Test(unittest.TestCase):\n{tests.rstrip()}\n\n\n"
            'if __name__ == "__main__":\n    unittest.main()\n'
        )
        for fault in faults:
            right, _, wrong = fault.partition("=>\n")
            faulty = code.replace(right.rstrip("\n"), wrong.rstrip("\n"), 1)
            found.append(Demo(name, f"# {title}\n{about.strip()}\n", _tidy(faulty), _tidy(code), body))
    return found


def demo_for(seed: int) -> Demo:
    """Neighbouring seeds give other faults; every fault comes once before one comes again."""
    order = demos()
    random.Random(0).shuffle(order)
    return order[seed % len(order)]


def make_repository(demo: Demo, folder: Path) -> bool:
    """Write it; true where git keeps it too."""
    files = {"README.md": demo.readme, f"{demo.name}.py": demo.faulty, f"test_{demo.name}.py": demo.tests}
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    if not shutil.which("git"):
        return False
    for command in (["init", "-q"], ["add", "-A"], [*GIT_IDENTITY, "commit", "-q", "-m", "A small program"]):
        if subprocess.run(["git", *command], cwd=folder, capture_output=True, check=False).returncode:
            return False
    return True


def _tidy(text: str) -> str:
    return re.sub(r"\n{4,}", "\n\n\n", re.sub(r"\n\n\n(    )", r"\n\n\1", text)).strip("\n") + "\n"
