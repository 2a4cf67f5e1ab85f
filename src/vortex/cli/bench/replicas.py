"""`vortex bench replicas`: several servers behind the gateway: what is found again of a prompt, what a death costs."""

from __future__ import annotations

from typing import Annotated

import typer

from vortex.cli.bench.presenting import JsonOutOption, PlotOption, present
from vortex.cli.options import BackendOption, ModelOption, ProfileOption


def replicas(
    *,
    profile: ProfileOption = None,
    model: ModelOption = None,
    backend: BackendOption = None,
    count: Annotated[int, typer.Option("--replicas", min=2, help="Servers behind the gateway.")] = 3,
    conversations: Annotated[int, typer.Option(min=2, help="Led side by side.")] = 6,
    turns: Annotated[int, typer.Option(min=2, help="Of each conversation.")] = 6,
    new_tokens: Annotated[int, typer.Option(min=1, help="Tokens of an answer.")] = 24,
    json_out: JsonOutOption = None,
    plot: PlotOption = None,
) -> None:
    """Prompt tokens found again: one server, several by least load, several by affinity; then one of them dies."""
    from vortex.bench.measurement import run_measurement
    from vortex.bench.wire.replicas import ReplicasMeasurement

    chosen = {"--profile": profile, "--model": model, "--backend": backend}
    serving = [word for flag, value in chosen.items() if value for word in (flag, value)]
    measurement = ReplicasMeasurement(
        serving, replicas=count, conversations=conversations, turns=turns, new_tokens=new_tokens
    )
    present(run_measurement(measurement), json_out, plot)
