"""`vortex bench serve`, and the hidden command that is the engine's side of it (bench/wire/serve_side.py)."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated

import typer

from vortex.cli.bench.presenting import JsonOutOption, PlotOption, present
from vortex.cli.options import BackendOption, ModelOption, ProfileOption, SetOption
from vortex.machine.python_program import python_module

STOP_TIMEOUT_S = 30
ONE_BY_ONE = "bad.enabled=false"  # how many tokens a sweep gives depends on the text, and would hide what HTTP adds


def serve(
    *,
    profile: ProfileOption = None,
    model: ModelOption = None,
    backend: BackendOption = None,
    new_tokens: Annotated[int, typer.Option(min=2, help="Tokens of each answer.")] = 64,
    streams: Annotated[list[int] | None, typer.Option(min=1, help="Streams at once. Repeatable; 1, 4, 16.")] = None,
    runs: Annotated[int, typer.Option("--runs", min=1, help="Runs at one stream; a quarter of them at more.")] = 24,
    short_runs: Annotated[int, typer.Option("--short-runs", min=1, help="Short answers, for the first token.")] = 60,
    json_out: JsonOutOption = None,
    plot: PlotOption = None,
    set_: SetOption = None,
) -> None:
    """Measure the server beside the bare engine: first token, speed, what HTTP adds.

    Tokens come one a sweep (bad.enabled is off unless --set says otherwise), so that answers are alike. `--backend
    fake` shows the overhead alone: a scripted model costs nothing itself.
    """
    import asyncio

    from vortex.bench.measurement import run_measurement
    from vortex.bench.wire.serve import STREAMS, ServeMeasurement

    told = {"--profile": [profile], "--model": [model], "--backend": [backend], "--set": [ONE_BY_ONE, *(set_ or ())]}
    flags = [part for flag, values in told.items() for value in values if value for part in (flag, value)]
    with engine_process(flags) as address, asyncio.Runner() as runner:
        measurement = ServeMeasurement(address, runner, new_tokens, runs, short_runs, streams or STREAMS)
        present(run_measurement(measurement), json_out, plot)


def serve_side(
    *, profile: ProfileOption = None, model: ModelOption = None, backend: BackendOption = None, set_: SetOption = None
) -> None:
    """The engine's side of `vortex bench serve`."""
    from vortex.bench.wire.serve_side import bare_router
    from vortex.cli.composition import open_backend, settings_for
    from vortex.server.app import create_app
    from vortex.server.options import ServerOptions
    from vortex.server.process import bind, run

    opened = open_backend(settings_for(profile, set_, {"model.name": model, "model.backend": backend}), serves=True)
    options = ServerOptions(drain_s=1)
    listener = bind(options.host, 0)
    app = create_app(opened, options)
    app.include_router(bare_router(opened))

    def announce() -> None:
        sys.stdout.write(f"http://{options.host}:{listener.getsockname()[1]}\n")
        sys.stdout.flush()

    run(app, listener, options, announce)


@contextmanager
def engine_process(flags: Sequence[str]) -> Iterator[str]:
    """The address of an engine's side of our own, stopped at the end."""
    command = python_module("vortex", "bench", "serve-side", *flags)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None, "a pipe was asked for"
            line = process.stdout.readline().strip()
            if not line:
                raise typer.Exit(process.wait())  # it has said why on stderr
            yield line
        finally:
            process.terminate()
            process.wait(STOP_TIMEOUT_S)
