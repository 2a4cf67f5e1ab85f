"""`vortex bench structured`: does structured output hold, with this model on this machine?"""

from __future__ import annotations

from typing import Annotated

import typer

from vortex.cli.bench.presenting import JsonOutOption, present
from vortex.cli.options import BackendOption, ModelOption, ProfileOption, SetOption


def structured(
    *,
    profile: ProfileOption = None,
    model: ModelOption = None,
    backend: BackendOption = None,
    answers: Annotated[int, typer.Option(min=0, help="Answers to a schema.")] = 500,
    calls: Annotated[int, typer.Option(min=0, help="Tool calls.")] = 200,
    json_out: JsonOutOption = None,
    set_: SetOption = None,
) -> None:
    """Ask for schemas and tool calls and check each answer: 20 schemas, temperature 1, half of them short of tokens."""
    import asyncio

    from vortex.bench.measurement import run_measurement
    from vortex.bench.wire.structured import StructuredMeasurement
    from vortex.cli.composition import open_backend, settings_for

    opened = open_backend(settings_for(profile, set_, {"model.name": model, "model.backend": backend}))
    with asyncio.Runner() as runner:
        try:
            present(run_measurement(StructuredMeasurement(opened, runner, answers, calls)), json_out, None)
        finally:
            runner.run(opened.close())
