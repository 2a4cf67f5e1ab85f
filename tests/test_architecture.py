"""The house's only guard: who may import whom, no circles, what an import may load, what is too long."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent / "src" / "vortex"
LEVELS = {
    "errors": 0, "types": 0, "protocols": 0, "spans": 0,
    "config": 1, "records": 1, "backends": 1, "tokenizer": 1, "kernels": 1, "machine": 1, "hub": 1, "c3": 1,
    "sandbox": 1,
    "models": 2, "vblocks": 2, "decode": 2, "adapters": 2, "knowledge": 2,
    "engine": 3, "training": 3,
    "server": 4, "gateway": 4, "stack": 4, "learn": 4, "agent": 4, "console": 4, "bench": 4,
    "cli": 5,
}  # fmt: skip
SAME_LEVEL = {
    ("protocols", "types"), ("spans", "types"),
    ("tokenizer", "kernels"), ("tokenizer", "machine"), ("c3", "kernels"), ("kernels", "machine"),
    ("tokenizer", "records"), ("c3", "records"), ("backends", "records"), ("hub", "records"),
    ("hub", "machine"), ("backends", "machine"),
    ("config", "records"), ("sandbox", "records"), ("models", "vblocks"),
}  # fmt: skip
TORCH_ROOMS = {"models", "vblocks", "learn", "training", "machine", "c3", "bench"}
MAX_FILE_LINES = 500
MAX_FUNCTION_LINES = 50
MAX_PARAMETERS = 7


@cache
def modules() -> dict[str, tuple[Path, ast.Module]]:
    """Each module of the package by its dotted name."""
    found = {}
    for path in sorted(SOURCE.rglob("*.py")):
        parts = path.relative_to(SOURCE.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = (path, ast.parse(path.read_text()))
    return found


def imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def room_of(module: str) -> str:
    return module.split(".")[1] if "." in module else module


def test_rooms_import_downward() -> None:
    offenders = []
    for module, (_, tree) in modules().items():
        room = room_of(module)
        if module in {"vortex", "vortex.__main__"}:
            continue
        for name in imported(tree):
            if name.split(".")[0] == "torch" and room not in TORCH_ROOMS:
                offenders.append(f"{module} imports torch")
            other = room_of(name) if name.startswith("vortex.") else room
            if other in {room, "__version__"}:
                continue
            if LEVELS[other] >= LEVELS[room] and (room, other) not in SAME_LEVEL:
                offenders.append(f"{module} (level {LEVELS[room]}) imports {name} (level {LEVELS[other]})")
    assert not offenders


def test_no_circles() -> None:
    """Between modules, imports inside functions and for types included."""
    names = modules()
    arrows = {
        module: {
            name for name in imported(tree) if name in names and name != module and not module.startswith(name + ".")
        }
        for module, (_, tree) in names.items()
    }
    settled: set[str] = set()
    while ready := {module for module, targets in arrows.items() if module not in settled and targets <= settled}:
        settled |= ready
    left = {module: targets - settled for module, targets in arrows.items() if module not in settled}
    while leaves := {module for module in left if not any(module in targets for targets in left.values())}:
        left = {module: targets for module, targets in left.items() if module not in leaves}
    assert not left, "these import each other in a circle"


def test_files_stay_small_and_say_what_they_are_for() -> None:
    offenders = []
    for module, (path, tree) in modules().items():
        lines = len(path.read_text().splitlines())
        if lines > MAX_FILE_LINES:
            offenders.append(f"{module} has {lines} lines")
        if "utils" in path.stem:
            offenders.append(f"{module}: name the idea, not 'utils'")
        if path.stat().st_size and not ast.get_docstring(tree):
            offenders.append(f"{module} has no docstring")
    assert not offenders


def functions() -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    for module, (_, tree) in modules().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield module, node


def test_functions_fit_on_a_screen() -> None:
    def length(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
        return (node.end_lineno or node.lineno) - node.lineno + 1

    long = [(module, node.name, length(node)) for module, node in functions() if length(node) > MAX_FUNCTION_LINES]
    assert not long


def test_functions_take_few_parameters() -> None:
    def count(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
        every = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        return len([argument for argument in every if argument.arg not in {"self", "cls"}])

    wide = [
        (module, node.name, count(node))
        for module, node in functions()
        if count(node) > MAX_PARAMETERS and room_of(module) != "cli"  # a command's options are its parameters
    ]
    assert not wide


@pytest.mark.parametrize("module", ["vortex", "vortex.protocols", "vortex.cli.app", "vortex.cli.commands"])
def test_an_import_loads_neither_torch_nor_a_web_framework(module: str) -> None:
    code = f"""
import sys, {module} as loaded
getattr(loaded, "whole_app", int)()  # where the program is built, all its commands
print([m for m in ("torch", "fastapi", "transformers") if m in sys.modules])
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
