"""`vortex bench serve`: opens the model twice, once in this process and once behind a server process of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from vortex.cli.options import BackendOption, ModelOption, ProfileOption, SetOption

STOP_TIMEOUT_S = 30


def serve(
    *,
    profile: ProfileOption = None,
    model: ModelOption = None,
    backend: BackendOption = None,
    new_tokens: Annotated[int, typer.Option(min=2, help="Tokens of each answer.")] = 64,
    streams: Annotated[list[int] | None, typer.Option(min=1, help="Streams at once. Repeatable; 1, 4, 16.")] = None,
    runs: Annotated[int, typer.Option("--runs", min=1, help="Runs; the median counts.")] = 5,
    json_out: Annotated[Path | None, typer.Option("--json-out", help="Also write the JSON line to this file.")] = None,
    plot: Annotated[Path | None, typer.Option("--plot", help="Also draw the figures into this PNG.")] = None,
    set_: SetOption = None,
) -> None:
    """Measure the server beside the bare engine: first token, speed, what HTTP adds.

    `--backend fake` shows the overhead alone: a scripted model costs nothing itself.
    """
    import asyncio

    from vortex.backends.http import HttpBackend
    from vortex.bench.measurement import run_measurement
    from vortex.bench.serve import STREAMS, ServeMeasurement
    from vortex.cli.bench import present
    from vortex.cli.composition import open_backend, settings_for

    loaded = settings_for(profile, set_, {"model.name": model, "model.backend": backend})
    told = {"--profile": [profile], "--model": [model], "--backend": [backend], "--set": set_ or ()}
    flags = [part for flag, values in told.items() for value in values if value for part in (flag, value)]
    with server_process(flags) as address, asyncio.Runner() as runner:
        bare, served = open_backend(loaded), HttpBackend(address)
        try:
            measurement = ServeMeasurement(bare, served, address, runner, new_tokens, runs, streams or STREAMS)
            present(run_measurement(measurement), json_out, plot)
        finally:
            runner.run(served.close())
            runner.run(bare.close())


@contextmanager
def server_process(flags: Sequence[str]) -> Iterator[str]:
    """The address of a server of our own, stopped at the end."""
    command = [sys.executable, "-m", "vortex", "serve", "--port", "0", "--no-episodes", *flags]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None, "a pipe was asked for"
            line = process.stdout.readline().strip()
            if not line:
                raise typer.Exit(process.wait())  # it has said why on stderr
            yield line.split()[-1]
        finally:
            process.terminate()
            process.wait(STOP_TIMEOUT_S)
