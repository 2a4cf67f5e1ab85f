"""`vortex bench gateway`: what L-kn adds to a request, and how its homeostat answers a step of load."""

from __future__ import annotations

from typing import Annotated

import typer

from vortex.cli.bench.presenting import JsonOutOption, PlotOption, present


def gateway(
    *,
    peer: Annotated[str | None, typer.Option(help="Measure beside this program: litellm.")] = None,
    peer_python: Annotated[
        str | None, typer.Option("--peer-python", help="Interpreter that has the peer; VORTEX_PEER_PYTHON sets it too.")
    ] = None,
    seconds: Annotated[float, typer.Option(min=1, help="Length of each run.")] = 20.0,
    rate: Annotated[float, typer.Option(min=1, help="Requests per second to each.")] = 50.0,
    step: Annotated[bool, typer.Option("--step", help="The homeostat's step response instead (50 s).")] = False,
    json_out: JsonOutOption = None,
    plot: PlotOption = None,
) -> None:
    """What the gateway adds to a request, paired with going direct to the same fake engine."""
    from vortex.bench.measurement import run_measurement
    from vortex.bench.peer import peer_python as chosen_python
    from vortex.bench.wire.gateway import GatewayMeasurement
    from vortex.bench.wire.homeostat import HomeostatMeasurement
    from vortex.errors import ConfigError

    if peer not in {None, "litellm"}:
        raise ConfigError(f"--peer {peer} is not known here: litellm")
    if step:
        homeostat = HomeostatMeasurement()
        present(run_measurement(homeostat), json_out, None)
        if plot:
            homeostat.save_plot(plot)
        return
    python = chosen_python(peer_python) if peer else None
    present(run_measurement(GatewayMeasurement(seconds=seconds, rate=rate, peer_python=python)), json_out, plot)
