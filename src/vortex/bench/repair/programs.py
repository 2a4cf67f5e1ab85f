"""Programs with one fault each: our own, and QuixBugs' from a folder that the caller has.

Ours (bench/data/repair) were written, faults included, before the operators that look for them; the same hand wrote
both, which the report says. A program is a folder with a failing test, a right version that nobody searching sees,
and inputs to compare with it.
"""

from __future__ import annotations

import ast
import itertools
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vortex.errors import ModelNotFound

DATA = Path(__file__).parent.parent / "data" / "repair"
THEMES = ("numbers", "texts", "lists", "tables", "rules", "state")


@dataclass(frozen=True, slots=True)
class Program:
    """files: what a repair is given, by path. path: the faulty one. calls: arguments to compare with the right version
    (none: the tests alone say what is right)."""

    name: str
    path: str
    files: dict[str, str]
    right: str
    function: str
    calls: tuple[list[Any], ...]

    def write(self, folder: Path) -> None:
        for name, text in self.files.items():
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, encoding="utf-8")


def own_programs() -> list[Program]:
    """Themes take turns, so that the first few are of all kinds."""
    themes = [list(_read(DATA / f"{theme}.txt")) for theme in THEMES]
    return [program for turn in itertools.zip_longest(*themes) for program in turn if program is not None]


def repositories(number: int = 24, modules: int = 6) -> list[Program]:
    """Packages of several of our programs, one of them faulty, each with its tests: the fault has to be found first."""
    programs = own_programs()
    found = []
    for index in range(min(number, len(programs))):
        faulty = programs[index]
        chosen = [programs[(index + step * 7) % len(programs)] for step in range(modules)]
        files = {
            "toolbox/__init__.py": '"""Small functions."""\n',
            "README.md": "# Toolbox\nSmall functions, one a module.\n",
        }
        for one in chosen:
            text = faulty.files["program.py"] if one is faulty else one.right
            files[f"toolbox/{one.name}.py"] = text
            tests = one.files["test_program.py"].replace("from program", f"from toolbox.{one.name}")
            files[f"tests/test_{one.name}.py"] = tests
        path = f"toolbox/{faulty.name}.py"
        found.append(Program(faulty.name, path, files, faulty.right, faulty.function, faulty.calls))
    return found


def _read(path: Path) -> Iterator[Program]:
    for part in re.split(r"^== ", path.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]:
        head, right, wrong, calls = re.split(r"^-- (?:right|wrong|calls)\n", part, flags=re.MULTILINE)
        name, _, code = head.partition("\n")
        assert code.count(right) == 1, f"{name}: the right lines stand once in the program"
        arguments = tuple(_arguments(line) for line in calls.strip().splitlines())
        yield _own(
            name, code.rstrip("\n") + "\n", code.rstrip("\n").replace(right.rstrip("\n"), "\0"), wrong, arguments
        )


def _own(name: str, right: str, holed: str, wrong: str, calls: tuple[list[Any], ...]) -> Program:
    """The tests ask what the right version answers to every call that is listed."""
    faulty = holed.replace("\0", wrong.rstrip("\n")) if wrong.strip() else re.sub(r"\0\n?", "", holed)
    space: dict[str, Any] = {}
    exec(compile(right, name, "exec"), space)  # noqa: S102  # a program of this package
    function = space[name]
    lines = [f"from program import {name}", ""]
    for number, arguments in enumerate(calls, 1):
        expected = function(*ast.literal_eval(repr(arguments)))
        shown = ", ".join(map(repr, arguments))
        lines += ["", f"def test_{number}():", f"    assert {name}({shown}) == {expected!r}", ""]
    files = {"program.py": faulty.rstrip("\n") + "\n", "test_program.py": "\n".join(lines)}
    return Program(name, "program.py", files, right, name, calls)


def _arguments(call: str) -> list[Any]:
    node = ast.parse(call, mode="eval").body
    assert isinstance(node, ast.Call), "a call a line"
    return [ast.literal_eval(argument) for argument in node.args]


def quixbugs(folder: Path) -> list[Program]:
    """The Python programs of a checkout. Raises ModelNotFound where it is none."""
    if not (folder / "python_programs").is_dir():
        raise ModelNotFound(f"{folder} is no checkout of QuixBugs: it has no python_programs; clone jkoppel/QuixBugs")
    shared = {"conftest.py": (folder / "conftest.py").read_text()}
    for name in ("load_testdata.py", "node.py"):
        if (folder / "python_testcases" / name).exists():
            shared[f"python_testcases/{name}"] = (folder / "python_testcases" / name).read_text()
    found = []
    for test in sorted((folder / "python_testcases").glob("test_*.py")):
        name = test.stem.removeprefix("test_")
        path = f"python_programs/{name}.py"
        files = {
            **shared,
            path: (folder / path).read_text(),
            f"python_testcases/{test.name}": test.read_text(),
        }
        cases = folder / "json_testcases" / f"{name}.json"
        calls: list[list[Any]] = []
        if cases.exists():
            files[f"json_testcases/{name}.json"] = cases.read_text()
            calls = [json.loads(line)[0] for line in cases.read_text().splitlines() if line.strip()]
        if (folder / "python_programs" / "node.py").exists() and "Node" in files[path] + test.read_text():
            files["python_programs/node.py"] = (folder / "python_programs" / "node.py").read_text()
        right = (folder / "correct_python_programs" / f"{name}.py").read_text()
        arguments = tuple(call if isinstance(call, list) else [call] for call in calls)
        found.append(Program(name, path, files, right, name, arguments))
    return found
