"""Which file registers which command, so that a run imports only the file of the command it was asked for.

Building all commands costs a third of a start; `vortex chat` needs one of them. Help, completion and a name that is
no command get all. tests/cli/test_commands.py holds the table against what the files register.
"""

from __future__ import annotations

import importlib
from typing import Annotated

import typer

WELCOME = """\
Vortex: your own language model, on your own machine.

Try these first:
  vortex chat "What is the capital of France?"   ask once (the first run fetches a 98 MB model)
  vortex chat                                    have a conversation
  vortex doctor                                  what this machine can run

All commands: vortex --help
"""
FILES: dict[str, tuple[str, ...]] = {  # in the order of `vortex --help`
    "chat": ("chat",),
    "serve": ("serve",),
    "launch.command": ("launch",),
    "gateway": ("gateway",),
    "stack": ("up", "down", "status", "smoke", "logs"),
    "models": ("pull", "models"),
    "places": ("ps", "stop"),
    "adapters": ("adapters",),
    "knowledge": ("knowledge",),
    "memory": ("memory",),
    "console.command": ("console",),
    "improve.learn": ("learn",),
    "improve.self_training": ("ingest-once", "train-once", "self-train", "promote-quarantine"),
    "doctor.command": ("doctor",),
    "c3": ("c3",),
    "bench.command": ("bench",),
    "improve.tokenizer": ("tokenizer-train", "tokenizer"),
    "improve.train_core": ("train-core",),
    "improve.bootstrap": ("bootstrap",),
    "improve.evaluate": ("eval",),
    "config": ("config",),
    "sandbox": ("sandbox",),
    "agent.demo": ("agent-demo",),
    "agent.run": ("agent-run",),
    "agent.patches": ("self-patch", "apply-patch"),
    "console.calls": ("calls",),
    "agent.editor": ("agent-editor",),
    "mcp": ("mcp",),
}


def whole_app() -> typer.Typer:
    """The program with all its commands."""
    return _app(tuple(FILES))


def app_for(first_argument: str | None) -> typer.Typer:
    """The program with the commands of one file where the first argument names one, else with all."""
    if first_argument == "--version":
        return _app(())
    owners = tuple(file for file, commands in FILES.items() if first_argument in commands)
    return _app(owners or tuple(FILES))


def _app(files: tuple[str, ...]) -> typer.Typer:
    app = typer.Typer(
        name="vortex",
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback(invoke_without_command=True)(_welcome)
    for file in files:
        importlib.import_module(f"vortex.cli.{file}").register(app)
    return app


def _welcome(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version.", is_eager=True)] = False,
) -> None:
    """Your own language model, on your own machine: it fits, adapts and improves under your control."""
    if version:
        from vortex import __version__

        typer.echo(f"vortex {__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(WELCOME, nl=False)
