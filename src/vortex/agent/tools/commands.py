"""Tools that run programs: the project's tests by a fixed command, and any command by a person's leave."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from vortex.agent.tools.tool import Effect, Tool, ToolError, ToolResult, Trust, number, schema, text
from vortex.agent.tools.workspace import Workspace
from vortex.sandbox import Completed

DEFAULT_SECONDS = 120
MAX_SECONDS = 600
PYTEST = (sys.executable, "-m", "pytest", "-q", "-x", "--no-header", "-p", "no:cacheprovider")


def command_tools(workspace: Workspace, test_command: Sequence[str] = PYTEST) -> list[Tool]:
    """`test_command` is the caller's choice and never the model's; a model may only add which tests."""
    return [
        Tool(
            "run_tests",
            "Run the project's tests and see what fails.",
            schema(select=text("A test file or test id; empty: all tests."), seconds=number("Longest time.")),
            Effect.TEST,
            lambda arguments: run_tests(workspace, test_command, arguments),
        ),
        Tool(
            "run_command",
            "Run a shell command in the working folder. There is no network.",
            schema(("command",), command=text("The command."), seconds=number("Longest time.")),
            Effect.COMMAND,
            lambda arguments: run_command(workspace, arguments),
        ),
    ]


def run_tests(workspace: Workspace, test_command: Sequence[str], arguments: Mapping[str, Any]) -> ToolResult:
    select = arguments.get("select", "").strip()
    if select.startswith("-"):
        raise ToolError("select names tests; options of the test program are not passed on")
    done = workspace.command([*test_command, *([select] if select else [])], _seconds(arguments))
    return told(done, "the tests")


def run_command(workspace: Workspace, arguments: Mapping[str, Any]) -> ToolResult:
    # A shell inside the walls: it can do nothing that any other program there could not.
    done = workspace.command(["/bin/sh", "-c", arguments["command"]], _seconds(arguments))
    return told(done, arguments["command"])


def told(done: Completed, what: str) -> ToolResult:
    """Both streams and how it ended, failures last, since the end is what a cut keeps."""
    parts = [part.rstrip("\n") for part in (done.stdout, done.stderr) if part.strip()]
    ending = f"ended by the sandbox: {done.reason}" if done.reason else f"exit code {done.exit_code}"
    body = "\n".join([*parts, ending])
    notes = ("output beyond the limit was dropped",) if done.truncated else ()
    return ToolResult(body, Trust.WORKSPACE, what, done.ok, notes)


def _seconds(arguments: Mapping[str, Any]) -> float:
    return float(min(arguments.get("seconds", DEFAULT_SECONDS), MAX_SECONDS))
