"""The program `vortex` (also `klimeai`, `python -m vortex`, `python -m c3rnt2`).

Each command group lives in its own file and registers itself here. Commands import what they need when they run, so
`vortex --help` stays fast. An error a user can cause is one line on stderr with an exit code that scripts can rely on
(`errors.py`); VORTEX_DEBUG=1 shows the traceback.
"""

from __future__ import annotations

import io
import os
import sys
from typing import Annotated

import typer

from vortex.cli import (
    adapters,
    c3,
    chat,
    config,
    gateway,
    knowledge,
    mcp,
    memory,
    models,
    places,
    sandbox,
    serve,
    stack,
)
from vortex.cli.agent import demo as agent_demo
from vortex.cli.agent import editor as agent_editor
from vortex.cli.agent import patches as agent_patches
from vortex.cli.agent import run as agent_run
from vortex.cli.bench import command as bench
from vortex.cli.doctor import command as doctor
from vortex.cli.improve import bootstrap, evaluate, learn, self_training, tokenizer, train_core
from vortex.errors import VortexError

WELCOME = """\
Vortex: your own language model, on your own machine.

Try these first:
  vortex chat "What is the capital of France?"   ask once (the first run fetches a 98 MB model)
  vortex chat                                    have a conversation
  vortex doctor                                  what this machine can run

All commands: vortex --help
"""
INTERNAL_ERROR = 70

app = typer.Typer(
    name="vortex",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(invoke_without_command=True)
def welcome(
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


for group in (
    chat,
    serve,
    gateway,
    stack,
    models,
    places,
    adapters,
    knowledge,
    memory,
    learn,
    self_training,
    doctor,
    c3,
    bench,
    tokenizer,
    train_core,
    bootstrap,
    evaluate,
    config,
    sandbox,
    agent_demo,
    agent_run,
    agent_patches,
    agent_editor,
    mcp,
):
    group.register(app)


def main() -> None:
    """Run the command line and end the process with its exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that lacks a character shows a question mark
    if os.environ.get("VORTEX_DEBUG"):
        app()
        return
    try:
        app()
    except VortexError as error:
        _fail(str(error), error.exit_code)
    except OSError as error:
        _fail(f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}", 1)
    except Exception as error:
        _fail(f"internal: {type(error).__name__}: {error}; VORTEX_DEBUG=1 shows where", INTERNAL_ERROR)


def _fail(message: str, exit_code: int) -> None:
    one_line = " ".join(message.split())
    print(f"error: {one_line}", file=sys.stderr)
    sys.exit(exit_code)
