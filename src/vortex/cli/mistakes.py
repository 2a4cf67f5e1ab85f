"""What was typed and does not exist, said in one line with the nearest name that does.

Typer draws a box of five lines for it. Its errors are read here by what they carry: the class they share is in typer's
own copy of click in newer versions, and in click itself in older ones.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from typing import Any

import typer

Mistake: type[Exception] = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")
EXIT_CODE = 2
_COMMAND = re.compile(r"No such command '(.*?)'")
_INVALID = "Invalid value for "


def told(mistake: Any) -> str | None:
    """What is wrong, what may be meant, and the command whose help says the rest. None where the help is all there is
    to say: a group of commands without one of them."""
    if type(mistake).__name__ == "NoArgsIsHelpError":
        return None
    context = getattr(mistake, "ctx", None)
    if context is None:
        return str(mistake.format_message())
    return f"{_what(mistake, context)}; see: {context.command_path} --help"


def _what(mistake: Any, context: Any) -> str:
    message = " ".join(mistake.format_message().split()).rstrip(".")
    if command := _COMMAND.search(message):
        return f"no command '{command[1]}'{_nearest_command(command[1], context)}"
    if message.startswith("No such option"):
        options = [name for each in context.command.get_params(context) for name in [*each.opts, *each.secondary_opts]]
        return f"no option '{mistake.option_name}'{_nearest(mistake.option_name, options)}"
    if message.startswith(_INVALID):
        return message.removeprefix(_INVALID).replace("'", "")
    return message[:1].lower() + message[1:]


def _nearest_command(name: str, context: Any) -> str:
    groups = context.command.commands
    if near := _nearest(name, groups):
        return near
    inside = [group for group, command in groups.items() if name in getattr(command, "commands", {})]
    return f" (did you mean '{inside[0]} {name}'?)" if inside else ""


def _nearest(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f" (did you mean '{close[0]}'?)" if close else ""
