"""`vortex bench hostile`: see bench/wire/hostile.py."""

from __future__ import annotations

from typing import Annotated

import typer

from vortex.cli.bench.presenting import JsonOutOption, present
from vortex.cli.bench.serve import ONE_BY_ONE, engine_process
from vortex.cli.options import BackendOption, ModelOption, ProfileOption, SetOption


def hostile(
    *,
    profile: ProfileOption = None,
    model: ModelOption = None,
    backend: BackendOption = None,
    rounds: Annotated[int, typer.Option("--rounds", min=1, help="Pairs of streams, without and with schemas.")] = 5,
    new_tokens: Annotated[int, typer.Option(min=16, help="Tokens of each stream.")] = 256,
    json_out: JsonOutOption = None,
    set_: SetOption = None,
) -> None:
    """Measure what huge bodies and hard schemas do to everybody else: /healthz, memory, another stream's p99.

    Starts a server of its own, where tokens come one a sweep (bad.enabled is off unless --set says otherwise). One to
    two minutes with the default model.
    """
    import asyncio

    from vortex.bench.measurement import run_measurement
    from vortex.bench.wire.hostile import HostileMeasurement

    told = {"--profile": [profile], "--model": [model], "--backend": [backend], "--set": [ONE_BY_ONE, *(set_ or ())]}
    flags = [part for flag, values in told.items() for value in values if value for part in (flag, value)]
    with engine_process(flags) as address, asyncio.Runner() as runner:
        present(run_measurement(HostileMeasurement(address, runner, rounds, new_tokens)), json_out, None)
