"""`vortex launch PROGRAM`: starts the server if none runs, then the program, told where the server is.

A server that was started here ends with the program; one that ran before stays. `--print` shows what would be done, and
does nothing.
"""

from __future__ import annotations

import contextlib
import shlex
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vortex.cli.options import ModelOption, ProfileOption, SetOption
from vortex.errors import BackendError, ConfigError, MissingCapability

if TYPE_CHECKING:
    from vortex.cli.launch.programs import Program, Server, Told
    from vortex.config.loading import LoadedSettings

READY_S = 1800.0  # the model may have to be fetched and packed
STOP_S = 15.0
NO_KEY = "none"  # clients want some word
LOG_FILE = "launch-serve.log"


def register(app: typer.Typer) -> None:
    settings = {"ignore_unknown_options": True, "allow_interspersed_args": False}
    app.command("launch", rich_help_panel="Serve", context_settings=settings)(launch)


def launch(
    *,
    program: Annotated[str, typer.Argument(help="claude, codex, opencode, aider or continue.")],
    arguments: Annotated[list[str] | None, typer.Argument(help="For the program, as they are.")] = None,
    model: ModelOption = None,
    profile: ProfileOption = None,
    show: Annotated[bool, typer.Option("--print", help="Show what would be done, and do nothing.")] = False,
    set_: SetOption = None,
) -> None:
    """Start a program of somebody else's on your own model. Its own settings stay as they are.

    Examples:

      vortex launch claude

      vortex launch --model qwen2.5-coder-1.5b codex exec "list the files here"

      vortex launch --print aider
    """
    from vortex.cli.composition import settings_for
    from vortex.cli.launch.programs import PROGRAMS

    chosen = PROGRAMS.get(program)
    if chosen is None:
        raise ConfigError(f"no program {program!r} is known; choose one of: {', '.join(PROGRAMS)}")
    loaded = settings_for(profile, set_, {"model.name": model})
    options = [*(("--profile", profile) if profile else ()), *(("--model", model) if model else ())]
    options += [word for each in set_ or () for word in ("--set", each)]
    if show:
        _show(chosen, loaded, options, arguments or [])
        return
    executable = shutil.which(chosen.executable)
    if executable is None:
        raise MissingCapability(f"{chosen.title} is not installed; get it with: {chosen.install}")
    with _server(loaded, options, model) as server, _told(chosen, server) as told:
        raise typer.Exit(_run([executable, *told.arguments, *(arguments or [])], told))


def _show(program: Program, loaded: LoadedSettings, options: list[str], arguments: list[str]) -> None:
    from dataclasses import replace

    from vortex.cli.terminal import write_as_is

    running = _running(loaded)
    address, name = _address(loaded), loaded.settings.model.name
    server = running or _named(address, loaded, name, None)
    if server.key != NO_KEY:
        server = replace(server, key="YOUR_KEY")
    told = program.tell(server)
    lines = [f"# a server answers at {address}" if running else shlex.join(["vortex", "serve", *options])]
    if told.config:
        lines.append(f"# {{config}} is a file of this content, for this run alone:\n{told.config}")
    lines += [f"export {name}={shlex.quote(value)}" for name, value in told.variables.items()]
    lines.append(shlex.join([program.executable, *told.arguments, *arguments]))
    write_as_is("\n".join(lines) + "\n")


def _run(command: list[str], told: Told) -> int:
    import os

    try:
        return subprocess.run(command, env={**os.environ, **told.variables}, check=False).returncode
    except KeyboardInterrupt:
        return 130


@contextlib.contextmanager
def _told(program: Program, server: Server) -> Iterator[Told]:
    """What the program is told, with its file on disk while it runs."""
    from dataclasses import replace

    told = program.tell(server)
    if not told.config:
        yield told
        return
    with tempfile.TemporaryDirectory(prefix="vortex-launch-") as folder:
        path = Path(folder) / told.config_name
        path.write_text(told.config, encoding="utf-8")
        yield replace(told, arguments=[word.replace("{config}", str(path)) for word in told.arguments])


@contextlib.contextmanager
def _server(loaded: LoadedSettings, options: list[str], model: str | None) -> Iterator[Server]:
    """The server that runs; where none does, one that ends with the block. Raises BackendError, ConfigError."""
    from vortex.cli.terminal import notice

    running = _running(loaded)
    if running is not None:
        if model is not None and running.model != model:
            notice(f"a server with {running.model} runs already at {running.address}, and is used as it is")
        yield running
        return
    with _started(loaded, options) as process:
        yield _ready(loaded, process)


@contextlib.contextmanager
def _started(loaded: LoadedSettings, options: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    from vortex.config.data_folder import data_path
    from vortex.machine.python_program import python_module

    log = data_path("logs", LOG_FILE)
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as file:
        command = python_module("vortex", "serve", *options)
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=True)
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _ready(loaded: LoadedSettings, process: subprocess.Popen[bytes]) -> Server:
    from vortex.cli.terminal import working
    from vortex.config.data_folder import data_path

    log = data_path("logs", LOG_FILE)
    due_s = time.monotonic() + READY_S
    with working(f"starting the server ({log} tells how it goes)"):
        while time.monotonic() < due_s:
            if process.poll() is not None:
                last = log.read_text(errors="replace").strip().splitlines()[-1:] or ["it said nothing"]
                raise BackendError(f"the server did not start: {last[0].removeprefix('error: ')}")
            if (server := _running(loaded)) is not None:
                return server
            time.sleep(0.2)
    raise BackendError(f"the server was not ready in time; {log} tells why")


def _running(loaded: LoadedSettings) -> Server | None:
    """The server at the settings' address, where one answers as ours do."""
    from vortex.backends.http_get import request_json

    address = _address(loaded)
    try:
        listed = request_json(f"{address}/v1/models", key=_key(loaded), timeout_s=2.0)
        first = listed["data"][0]
        return _named(address, loaded, str(first["id"]), first.get("context_length"))
    except (BackendError, KeyError, IndexError, TypeError):
        return None


def _named(address: str, loaded: LoadedSettings, model: str, context_tokens: int | None) -> Server:
    from vortex.cli.launch.programs import Server

    return Server(address=address, model=model, key=_key(loaded) or NO_KEY, context_tokens=context_tokens)


def _key(loaded: LoadedSettings) -> str:
    """The key that the server asks for: the given one, or the one it drew for itself; empty: none."""
    import platformdirs

    from vortex.cli.serve import KEY_FILE
    from vortex.server.keys import is_loopback, read_key_file

    settings = loaded.settings.server
    drawn = platformdirs.user_config_path("vortex") / KEY_FILE
    if settings.api_token or is_loopback(settings.host) or not drawn.exists():
        return settings.api_token or ""
    return read_key_file(drawn)


def _address(loaded: LoadedSettings) -> str:
    """Where clients on this machine reach the server."""
    host = loaded.settings.server.host
    everywhere = host in ("0.0.0.0", "::")  # noqa: S104 - what is listened on, not what is asked for here
    name = "127.0.0.1" if everywhere else f"[{host}]" if ":" in host else host
    return f"http://{name}:{loaded.settings.server.port}"
