"""The table of commands is what the files register, and a run imports the file of its command alone."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest
import typer

from vortex.cli.commands import FILES


@pytest.mark.parametrize("file", FILES)
def test_a_file_registers_what_the_table_says(file: str) -> None:
    app = typer.Typer()
    importlib.import_module(f"vortex.cli.{file}").register(app)
    registered = [command.name for command in app.registered_commands if not command.hidden]
    registered += [group.name for group in app.registered_groups if not group.hidden]
    assert sorted(map(str, registered)) == sorted(FILES[file])


@pytest.mark.parametrize(("argument", "alone"), [("chat", "vortex.cli.chat"), ("--version", None), ("chta", "all")])
def test_a_run_imports_the_file_of_its_command_alone(argument: str, alone: str | None) -> None:
    code = f"""
import sys
from vortex.cli.commands import FILES, app_for
app_for({argument!r})
print([f"vortex.cli.{{file}}" for file in FILES if f"vortex.cli.{{file}}" in sys.modules])
"""
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    loaded = [f"vortex.cli.{file}" for file in FILES] if alone == "all" else [alone] if alone else []
    assert printed.strip() == str(loaded)
