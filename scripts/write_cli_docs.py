"""Write docs/cli.md and docs/cli/ from the command line itself; with --check, only say whether they are right.

docs/cli.md lists every command; each group has a page under docs/cli/, single commands share docs/cli/commands.md.

A test runs the check, so the pages cannot fall behind.
"""

from __future__ import annotations

import argparse
import inspect
import sys
import textwrap
from collections.abc import Callable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import typer
from typer.models import ArgumentInfo, OptionInfo

from vortex.cli.commands import whole_app

DOCS = Path(__file__).parent.parent / "docs"
SINGLE = "commands"
HEAD = """\
# The command line

Written by `python scripts/write_cli_docs.py` from the commands themselves; do not edit by hand.
`klimeai`, `python -m vortex` and `python -m c3rnt2` are the same program. `-h` works everywhere.

Exit codes: 0 done; 1 a failure in general; 2 a setting, option or request that cannot be served as asked; 3 no such
model; 4 a model file that cannot be used; 5 a download that did not work; 6 something is missing on this machine;
70 a defect of the program; 130 stopped by Ctrl-C. An error is one line on stderr; `VORTEX_DEBUG=1` shows where it
came from.

| command | what it does |
|---|---|
"""
PAGE_HEAD = """\
# {title}

Written by `python scripts/write_cli_docs.py` from the commands themselves; do not edit by hand. All commands and exit
codes: [cli.md](../cli.md).
"""

VALUES = {str: "TEXT", int: "N", float: "X", Path: "PATH"}


def commands(group: typer.Typer, path: str) -> Iterator[tuple[str, Callable[..., Any]]]:
    """Every visible command with its full name and function, a group before its members, in order of registration."""
    if group.registered_callback and group.registered_callback.callback:
        yield path, group.registered_callback.callback
    for command in group.registered_commands:
        if not command.hidden and command.callback:
            yield f"{path} {command.name or command.callback.__name__}", command.callback
    for inner in group.registered_groups:
        if not inner.hidden and inner.typer_instance:
            yield from commands(inner.typer_instance, f"{path} {inner.name}")


def section(path: str, function: Callable[..., Any]) -> str:
    hints = get_type_hints(function, include_extras=True)
    rows = []
    for name, parameter in inspect.signature(function).parameters.items():
        base, *marks = get_args(hints[name]) if get_origin(hints[name]) is Annotated else (hints[name],)
        info = next((mark for mark in marks if isinstance(mark, OptionInfo | ArgumentInfo)), None)
        if info is not None and not info.hidden:
            rows.append(table_row(name, base, info, parameter.default))
    text = textwrap.dedent(inspect.getdoc(function) or "")
    table = ["| | | default |", "|---|---|---|", *rows, ""] if rows else []
    return "\n".join([f"## `{path}`", "", text, "", *table])


def value_name(kind: type) -> str:
    """What stands for a value of this kind: the choices of an enum, or a word."""
    return "\\|".join(kind) if issubclass(kind, StrEnum) else VALUES[kind]


def table_row(name: str, base: Any, info: OptionInfo | ArgumentInfo, default: object) -> str:
    kinds = [kind for kind in (get_args(base) or (base,)) if kind is not type(None)]
    kind = (get_args(kinds[0]) or kinds)[0]
    if isinstance(info, ArgumentInfo):
        shown = name.upper()
    else:
        # inside Annotated the first name sits where Option's default would be
        given = [text for text in (info.default, *(info.param_decls or ())) if str(text).startswith("-")]
        names = ", ".join(given or [f"--{name.replace('_', '-')}"])
        shown = names if kind is bool else f"{names} {info.metavar or value_name(kind)}"
    is_worth_saying = default not in (None, False, "", inspect.Parameter.empty)
    help_text = (info.help or "").replace("|", "\\|")
    return f"| `{shown}` | {help_text} | {f'`{default}`' if is_worth_saying else ''} |"


def summary(function: Callable[..., Any]) -> str:
    """The first line of a command's help."""
    return (inspect.getdoc(function) or "").split("\n", 1)[0]


def pages() -> dict[str, str]:
    """The text of each page, by its file's name under docs/."""
    groups = {f"vortex {group.name}": str(group.name) for group in whole_app().registered_groups if not group.hidden}
    index: list[str] = []
    sections: dict[str, list[str]] = {}
    for path, function in commands(whole_app(), "vortex"):
        page = next((name for group, name in groups.items() if f"{path} ".startswith(f"{group} ")), SINGLE)
        index.append(f"| [`{path}`](cli/{page}.md#{path.replace(' ', '-')}) | {summary(function)} |")
        sections.setdefault(page, []).append(section(path, function))
    written = {"cli.md": HEAD + "\n".join(index) + "\n"}
    for page, texts in sections.items():
        title = "Single commands" if page == SINGLE else f"`vortex {page}`"
        written[f"cli/{page}.md"] = "\n".join([PAGE_HEAD.format(title=title), *texts])
    return written


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    for name, text in pages().items():
        page = DOCS / name
        if not arguments.check:
            page.parent.mkdir(exist_ok=True)
            page.write_text(text, encoding="utf-8")
        elif not page.is_file() or page.read_text(encoding="utf-8") != text:
            sys.exit(f"docs/{name} is behind the command line: python scripts/write_cli_docs.py")


if __name__ == "__main__":
    main()
