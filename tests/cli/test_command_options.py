"""A command that takes a dataclass reads and behaves like one that takes parameters."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from typer.testing import CliRunner

from vortex.cli.command_options import with_options


@dataclass(frozen=True, slots=True, kw_only=True)
class Greeting:
    name: Annotated[str, typer.Argument(help="Who.")]
    times: Annotated[int, typer.Option("--times", min=1, help="How often.")] = 1
    out: Annotated[Path | None, typer.Option("--out", help="A file.")] = None


def greet(options: Greeting) -> None:
    """Says good day."""
    typer.echo(f"{options.name} {options.times} {options.out}")


def run(*arguments: str) -> tuple[int, str]:
    app = typer.Typer()
    app.command("greet")(with_options(greet))
    result = CliRunner().invoke(app, list(arguments))
    return result.exit_code, result.output


def test_fields_are_parameters_with_their_defaults() -> None:
    assert run("Ada") == (0, "Ada 1 None\n")
    assert run("Ada", "--times", "3", "--out", "a/b") == (0, f"Ada 3 {Path('a/b')}\n")


def test_a_field_without_a_default_is_required_and_limits_hold() -> None:
    assert run()[0] == 2
    assert run("Ada", "--times", "0")[0] == 2


def test_help_is_that_of_the_command() -> None:
    text = run("--help")[1]
    assert "Says good day." in text
    assert "How often." in text
