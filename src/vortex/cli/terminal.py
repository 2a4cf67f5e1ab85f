"""Where the command line writes: answers and data on stdout, everything said about them on stderr.

Rich leaves colour out for NO_COLOR, dumb terminals and pipes. Nothing here starts anything.
"""

from __future__ import annotations

import json
import math
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console


_moving: list[Console] = []  # whose line moves: what is printed meanwhile goes through it, or into that line
CONTROL_CHARACTERS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def notice(text: str) -> None:
    """One line about what is going on, for people."""
    errors().print(f"[dim]{_escaped(text)}[/dim]", highlight=False)


def warn(text: str) -> None:
    errors().print(f"[yellow]note:[/yellow] {_escaped(text)}", highlight=False)


def write_answer(text: str) -> None:
    """Text of a model, at once. A terminal never gets control characters from it: they could rewrite the screen."""
    write_as_is(without_control(text) if sys.stdout.isatty() else text)


def write_thought(text: str) -> None:
    """What a model thinks, dimmed, beside the answer and not in it; nowhere but on a terminal."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\x1b[2m{without_control(text)}\x1b[0m")
        sys.stderr.flush()


def without_control(text: str) -> str:
    return CONTROL_CHARACTERS.sub("", text)


def write_as_is(text: str) -> None:
    """For text of our own, cursor movements included."""
    sys.stdout.write(text)
    sys.stdout.flush()


def output() -> Console:
    """Console on stdout, for tables."""
    from rich.console import Console

    return Console()


def errors() -> Console:
    """Console on stderr. Lines are never wrapped, so that they can be searched and copied."""
    from rich.console import Console

    return _moving[-1] if _moving else Console(stderr=True, soft_wrap=True)


@contextmanager
def working(text: str, lines_every_s: float = math.inf) -> Iterator[Callable[[str], None]]:
    """A line that moves on a terminal while the block runs, and is gone after it; what is yielded writes another text
    into it. Elsewhere a line of its own every `lines_every_s` seconds, where there is something to say."""
    console = errors()
    if not console.is_terminal:
        due_s = time.monotonic() + lines_every_s

        def say(now: str) -> None:
            nonlocal due_s
            if time.monotonic() >= due_s:
                due_s = time.monotonic() + lines_every_s
                console.print(_escaped(f"{text}: {now}"))

        yield say
        return
    with console.status(_escaped(text)) as status:
        _moving.append(console)
        try:
            yield lambda now: status.update(_escaped(now))
        finally:
            _moving.remove(console)


def print_json(value: Any) -> None:
    """One line of JSON on stdout."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False, default=str) + "\n")


def _escaped(text: str) -> str:
    from rich.markup import escape

    return escape(text)
