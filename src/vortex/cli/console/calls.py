"""`vortex calls`: tool calls that wait for a person, answered without the console."""

from __future__ import annotations

from typing import Annotated

import typer

from vortex.cli.options import JsonOption

IdArgument = Annotated[str, typer.Argument(metavar="ID", help="As `vortex calls list` shows it.")]


def register(app: typer.Typer) -> None:
    group = typer.Typer(help="Tool calls of the agent that wait for your word.", no_args_is_help=True)
    group.command("list")(list_calls)
    group.command("allow")(allow)
    group.command("deny")(deny)
    app.add_typer(group, name="calls", rich_help_panel="Agent")


def list_calls(as_json: JsonOption = False) -> None:
    """What waits, with all arguments."""
    import json

    from vortex.cli.console.questions import open_questions
    from vortex.cli.terminal import print_json, write_answer

    waiting = open_questions().waiting()
    if as_json:
        print_json({"calls": [one.to_json() for one in waiting]})
        return
    for one in waiting:
        arguments = json.dumps(dict(one.arguments), ensure_ascii=False, indent=1)
        write_answer(f"{one.id}  {one.tool} ({one.effect}): {one.reason}\n{arguments}\n")
    if not waiting:
        typer.echo("No call waits.")


def allow(call: IdArgument) -> None:
    """Allow one call, this once."""
    _answer(call, allowed=True)


def deny(call: IdArgument) -> None:
    """Refuse one call."""
    _answer(call, allowed=False)


def _answer(call: str, *, allowed: bool) -> None:
    from vortex.cli.console.questions import open_questions
    from vortex.errors import RequestError

    questions = open_questions()
    one = next((one for one in questions.waiting() if one.id == call), None)
    if one is None:
        raise RequestError(f"no call '{call}' waits; see them with: vortex calls list")
    questions.answer(one.id, one.hash, allowed=allowed)
    typer.echo(f"{one.tool} is {'allowed, this once' if allowed else 'refused'}")
