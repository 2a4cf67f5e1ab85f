"""The commands that pages tell a user to type, and this program's own parser to try them on."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import typer
from typer.core import TyperGroup

from vortex.cli.commands import whole_app

ROOT = Path(__file__).parent.parent
CARDS = [
    ROOT / "docs" / name
    for name in (
        "rtx4080.md", "rtx4060.md", "120b_like.md", "WINDOWS_SELF_TRAIN_WSL.md",
        "es/rtx4080.md", "es/rtx4060.md", "es/120b_like.md", "es/windows-wsl.md",
    )
]  # fmt: skip
PROGRAMS = (["vortex"], ["klimeai"], ["python", "-m", "vortex"], ["python", "-m", "c3rnt2"])
UsageError = typer.BadParameter.__mro__[1]  # typer brings a click of its own, and does not export this
NOT_HERE = "(GPU)"  # in a line's comment: it wants what this machine has not


@dataclass(frozen=True)
class Documented:
    """arguments: after the program's name. runs_here: its page says that a test runs it."""

    page: Path
    line: str
    arguments: tuple[str, ...]
    runs_here: bool

    def __str__(self) -> str:
        return f"{self.page.name}: {' '.join(self.arguments)}"


def commands_of(page: Path) -> Iterator[Documented]:
    """Lines of a page's bash blocks that start this program, without assignments before it and pipes after it."""
    for block in re.findall(r"```bash\n(.*?)```", page.read_text(), re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            for part in line.partition(" #")[0].split(" && "):
                words = shlex.split(part.partition(" | ")[0].removeprefix("nohup "))
                while words and re.fullmatch(r"[A-Z0-9_]+=.*", words[0]):
                    del words[0]
                for program in PROGRAMS:
                    if words[: len(program)] == program:
                        yield Documented(page, line, tuple(words[len(program) :]), NOT_HERE not in line)


@cache
def program() -> TyperGroup:
    command = typer.main.get_command(whole_app())
    assert isinstance(command, TyperGroup)
    return command


def parse(arguments: tuple[str, ...]) -> None:
    """Raise UsageError where the program would: an unknown command, option or choice, a missing argument."""
    command, rest, parent = program(), list(arguments), None
    while isinstance(command, TyperGroup) and rest and not rest[0].startswith("-"):
        context = command.make_context(command.name, [], parent=parent, resilient_parsing=True)
        _, inner, rest = command.resolve_command(context, rest)
        if inner is None:
            raise UsageError(f"no command {rest}")
        command, parent = inner, context
    with command.make_context(command.name, rest, parent=parent):
        pass
