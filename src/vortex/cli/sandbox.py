"""`vortex sandbox`: run any command behind the walls that the agent's tools run behind."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from vortex.sandbox import Policy

KEPT_FROM_COMMANDS = (".git/hooks", ".git/config", "config/settings.yaml")
GATES = "data/continuous"
HIDDEN = ("config/.env",)
STREAMED_BYTES = 64 << 20  # times the flood factor of the sandbox, more output than this ends the run


def register(app: typer.Typer) -> None:
    app.command(
        "sandbox",
        rich_help_panel="Look around",
        context_settings={"allow_interspersed_args": False},
    )(sandbox)


def sandbox(  # noqa: PLR0917 - the command's words are the only positional ones
    command: Annotated[
        list[str] | None, typer.Argument(metavar="-- COMMAND…", help="Program and arguments.", show_default=False)
    ] = None,
    read: Annotated[list[Path] | None, typer.Option("--read", help="Also let it read this path. Repeatable.")] = None,
    write: Annotated[
        list[Path] | None, typer.Option("--write", help="Also let it write this path. Repeatable.")
    ] = None,
    require: Annotated[
        str | None, typer.Option("--require", metavar="TIER", help="namespaces, bubblewrap or landlock; else the best.")
    ] = None,
    memory: Annotated[str, typer.Option("--memory", metavar="SIZE", help="Memory of the whole run.")] = "1GiB",
    time: Annotated[float, typer.Option("--time", metavar="S", min=0.01, help="Seconds until it is ended.")] = 600.0,
    domain: Annotated[
        list[str] | None,
        typer.Option("--domain", help="Let HTTP(S) out to this domain, through a proxy that checks. Repeatable."),
    ] = None,
    unprotected: Annotated[
        bool,
        typer.Option(
            "--unprotected", help="Also let it change .git/hooks, .git/config and Vortex's gates and settings."
        ),
    ] = False,
    tiers: Annotated[bool, typer.Option("--tiers", help="Show which walls this machine can build, and end.")] = False,
) -> None:
    """Run a command with no network, no secrets and nothing writable but the working folder.

    Ends with the command's own exit code; 125 where the walls cannot be had, 124 when its time was up, 137 when another
    limit ended it.
    """
    from dataclasses import replace

    from vortex.errors import ConfigError

    if tiers:
        show_tiers()
        return
    if not command:
        raise ConfigError("no command: write it after two dashes, as in: vortex sandbox -- python script.py")
    granted = (tuple(read or ()), tuple(write or ()))
    policy = policy_of_folder(Path.cwd(), *granted, memory=memory, time_s=time, protected=not unprotected)
    if domain:
        policy = replace(policy, network="proxy", domains=tuple(domain))
    raise typer.Exit(run_and_tell(command, policy, require))


def run_and_tell(command: list[str], policy: Policy, require: str | None) -> int:
    """Pass output on as it comes, say what the sandbox did, and return the exit code."""
    from vortex.cli.terminal import warn
    from vortex.sandbox import run

    done = run(
        command,
        policy,
        require=require,
        stdin=b"" if sys.stdin.isatty() else sys.stdin.fileno(),
        on_output=_pass_on,
        log=log_file(),
    )
    for line in filter(None, done.stderr.splitlines()):
        warn(line)
    if done.reason:
        warn(f"the sandbox ended the command: {done.reason}")
    return done.exit_code


def policy_of_folder(
    folder: Path, read: tuple[Path, ...], write: tuple[Path, ...], *, memory: str, time_s: float, protected: bool
) -> Policy:
    """The working folder writable; what opens gates, or runs outside later, kept from the command."""
    from vortex.c3.format.sizes import parse_bytes
    from vortex.sandbox import Policy, python_paths

    keep, hide = kept_from_commands(folder)
    given = {path.resolve() for path in (*read, *write, folder)}
    return Policy(
        folder=folder,
        read=(*read, *(path for path in python_paths() if path.resolve() not in given)),
        write=write,
        protect=keep if protected else (),
        hide=hide if protected else (),
        memory_bytes=parse_bytes(memory),
        time_s=time_s,
        output_bytes=STREAMED_BYTES,
    )


def kept_from_commands(folder: Path) -> tuple[tuple[Path, ...], tuple[Path, ...]]:
    """What stays read-only, and what looks empty, in a folder that is worked in."""
    keep = tuple(folder / name for name in KEPT_FROM_COMMANDS if (folder / name).exists())
    if (folder / GATES).exists():
        keep += ((folder / GATES).parent,)
    return keep, tuple(folder / name for name in HIDDEN if (folder / name).exists())


def log_file() -> Path:
    """Where runs are written down; not in the working folder, where the command could rewrite it."""
    import platformdirs

    own = os.environ.get("VORTEX_DATA")
    return (Path(own) if own else platformdirs.user_state_path("vortex")) / "sandbox" / "runs.jsonl"


def show_tiers() -> None:
    from vortex.cli.terminal import output
    from vortex.sandbox import probe_all

    for probed in probe_all():
        state = f"holds here, start-up {probed.setup_ms:.0f} ms" if probed.available else f"no: {probed.why_not}"
        output().print(f"[bold]{probed.tier}[/bold]  {state}", highlight=False, soft_wrap=True)
        for lack in probed.lacks if probed.available else ():
            output().print(f"    cannot give: {lack}", highlight=False, soft_wrap=True)


def _pass_on(stream: str, block: bytes) -> None:
    target = sys.stdout if stream == "stdout" else sys.stderr
    target.buffer.write(block)
    target.flush()
