"""`vortex up | down | status | smoke | logs`: engine, gateway and user interface as one stack."""

from __future__ import annotations

import time
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vortex.cli.options import JsonOption

if TYPE_CHECKING:
    from vortex.config.addresses import Addresses
    from vortex.stack.stack import Stack

LOGS = Path("logs")
FOLLOW_EVERY_S = 0.3


class Part(StrEnum):
    ENGINE = "engine"
    GATEWAY = "gateway"
    UI = "ui"


OnlyOption = Annotated[list[Part] | None, typer.Option("--only", help="Only this part. Repeatable.")]
NoUiOption = Annotated[bool, typer.Option("--no-ui", help="Leave Open WebUI alone.")]
PANEL = "Serve"


def register(app: typer.Typer) -> None:
    app.command("up", rich_help_panel=PANEL)(up)
    app.command("down", rich_help_panel=PANEL)(down)
    app.command("status", rich_help_panel=PANEL)(status)
    app.command("smoke", rich_help_panel=PANEL)(smoke)
    app.command("logs", rich_help_panel=PANEL)(logs)


def up(
    *,
    engine: Annotated[
        str | None, typer.Option(help="vortex, sglang, vllm, llama-server or external. Default: ENGINE_KIND.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="Model of the engine. Default: ENGINE_MODEL.")] = None,
    only: OnlyOption = None,
    no_ui: NoUiOption = False,
) -> None:
    """Bring up the engine, the gateway and Open WebUI, and keep them running.

    Settings: config/.env and the environment. A part that runs already is left as it is.
    """
    _ask_for_trust()
    stack, _ = _stack({"ENGINE_KIND": engine, "ENGINE_MODEL": model})
    stack.up(_wanted(only, no_ui=no_ui))


def down(*, only: OnlyOption = None, no_ui: NoUiOption = False) -> None:
    """Stop the stack; no process is left behind."""
    stack, _ = _stack({})
    stack.down(_wanted(only, no_ui=no_ui))


def status(*, as_json: JsonOption = False) -> None:
    """What runs and what answers. Ends with 1 when the engine or the gateway does not answer."""
    from dataclasses import asdict

    from vortex.cli.terminal import output, print_json

    states = _stack({})[0].states()
    if as_json:
        print_json([asdict(state) for state in states])
    else:
        from rich.table import Table

        table = Table("part", "runs", "answers", "pid", "address")
        for state in states:
            runs = "yes" if state.watched else "yes, unwatched" if state.running else "no"
            table.add_row(state.name, runs, "yes" if state.ready else "no", str(state.pid or ""), state.url)
        output().print(table)
    if not all(state.ready for state in states if state.name != Part.UI):
        raise typer.Exit(1)


def smoke() -> None:
    """Send real requests through the running stack. Ends with 1 when a check fails."""
    from vortex.stack.smoke import Smoke

    failed = 0
    for check in Smoke(_stack({})[1]).run():
        failed += not check.passed
        typer.echo(f"{'✓' if check.passed else '✗'} {check.name}: {check.detail}")
    if failed:
        typer.echo(f"{failed} checks failed: see `vortex status` and `vortex logs`", err=True)
        raise typer.Exit(1)


def logs(
    part: Annotated[Part, typer.Argument(help="Which log.")] = Part.GATEWAY,
    *,
    lines: Annotated[int, typer.Option("-n", "--lines", min=1, help="Last lines to show.")] = 50,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on with what comes.")] = False,
) -> None:
    """Show what a part of the stack wrote."""
    from vortex.errors import ConfigError

    if part is Part.UI:
        from vortex.stack.ui import logs as ui_logs

        ui_logs(lines, follow=follow)
        return
    path = LOGS / f"{part}.log"
    if not path.exists():
        raise ConfigError(f"there is no {path}: start the stack with `vortex up`")
    with path.open(encoding="utf-8", errors="replace") as file:
        typer.echo("".join(file.readlines()[-lines:]), nl=False)
        while follow:
            if text := file.read():
                typer.echo(text, nl=False)
            else:
                time.sleep(FOLLOW_EVERY_S)


def _ask_for_trust() -> None:
    """Once for each content of config/.env that says what only its owner may: whose file it is. Asks on a terminal."""
    import sys

    from vortex.config.addresses import ADDRESSES, env_file_path
    from vortex.config.trust import is_trusted, trust
    from vortex.config.variables import read_env_file, withheld
    from vortex.gateway.settings import VARIABLES

    path = env_file_path()
    names = withheld((*ADDRESSES, *VARIABLES), read_env_file(path))
    if names and not is_trusted(path) and sys.stdin.isatty():
        question = f"{path.resolve()} sets {', '.join(names)}. Is that file yours? (asked once for this content)"
        if typer.confirm(question, default=False, err=True):
            trust(path)


def _wanted(only: list[Part] | None, *, no_ui: bool) -> list[str]:
    return [part.value for part in (only or Part) if not (no_ui and part is Part.UI)]


def _stack(flags: dict[str, str | None]) -> tuple[Stack, Addresses]:
    from vortex.cli.terminal import notice
    from vortex.config.addresses import environment_and_file, read_addresses
    from vortex.stack.stack import Stack

    environment, env_file = environment_and_file()
    given = {name: value for name, value in flags.items() if value is not None}
    addresses = read_addresses({**environment, **given}, env_file)
    return Stack(addresses, LOGS, notice), addresses
