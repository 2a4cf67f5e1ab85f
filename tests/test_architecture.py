"""The house's only guard: who may import whom, what an import may load, how long a file may be."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent / "src" / "vortex"
LEVELS = {
    "errors": 0, "types": 0, "protocols": 0,
    "config": 1, "records": 1, "backends": 1, "tokenizer": 1, "kernels": 1, "c3": 1, "blocks": 1,
    "sandbox": 1,
    "models": 2, "decode": 2, "knowledge": 2,
    "engine": 3,
    "server": 4, "gateway": 4, "agent": 4, "learn": 4, "stack": 4, "bench": 4,
    "cli": 5,
}  # fmt: skip
SAME_LEVEL = {
    ("types", "protocols"), ("protocols", "types"),
    ("blocks", "kernels"), ("tokenizer", "kernels"),
    ("c3", "records"), ("c3", "kernels"), ("tokenizer", "records"), ("backends", "records"), ("sandbox", "records"),
}  # fmt: skip
TORCH_ROOMS = {"models", "blocks", "learn", "c3", "bench"}
MAX_LINES = 500
FILES = sorted(SOURCE.rglob("*.py"))


def room_of(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def imports(tree: ast.AST) -> list[str]:
    names = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            names.append(node.module or "")
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return names


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_rooms_import_downward_and_stay_small(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= MAX_LINES, f"{path} is longer than {MAX_LINES} lines"
    assert "utils" not in path.stem, "name the idea, not 'utils'"
    room = room_of(path)
    if room in {"__init__", "__main__"}:
        return
    for name in imports(ast.parse(text)):
        if name.split(".")[0] == "torch":
            assert room in TORCH_ROOMS, f"{path} imports torch"
        if not name.startswith("vortex."):
            continue
        other = name.split(".")[1]
        if other == room or other == "__version__":
            continue
        allowed = LEVELS[other] < LEVELS[room] or (room, other) in SAME_LEVEL
        assert allowed, f"{room} (level {LEVELS[room]}) imports {other} (level {LEVELS[other]})"


def test_every_module_says_what_it_is_for() -> None:
    silent = [str(path) for path in FILES if not ast.get_docstring(ast.parse(path.read_text())) and path.stat().st_size]
    assert not silent


@pytest.mark.parametrize("module", ["vortex", "vortex.protocols", "vortex.cli.app"])
def test_an_import_loads_neither_torch_nor_a_web_framework(module: str) -> None:
    if not (SOURCE.parent / (module.replace(".", "/") + ".py")).exists() and module != "vortex":
        pytest.fail(f"{module} is gone")
    code = f"import sys, {module}; print([m for m in ('torch', 'fastapi', 'transformers') if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
