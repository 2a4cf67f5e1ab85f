"""`vortex bench kernels`: needs no model, weights are random."""

from __future__ import annotations

import importlib.util
from typing import Annotated

import typer

from vortex.cli.bench.presenting import JsonOutOption, PlotOption, present


def kernels(
    *,
    formats: Annotated[str, typer.Option(help="Weight formats, with commas between; `all` for each.")] = "Q4_1,Q8_0",
    rows: Annotated[int, typer.Option(min=16, help="Rows of the matrix.")] = 4096,
    columns: Annotated[int, typer.Option(min=256, help="Columns of the matrix, a multiple of 256.")] = 14336,
    attention: Annotated[
        bool,
        typer.Option("--attention", help="Attention over a long context instead, against a plain read of its cache."),
    ] = False,
    context: Annotated[int, typer.Option(min=256, help="Tokens that --attention looks back on.")] = 8192,
    runs: Annotated[int, typer.Option("--runs", min=1, help="Runs; the median counts.")] = 5,
    json_out: JsonOutOption = None,
    plot: PlotOption = None,
) -> None:
    """Products with packed weights: milliseconds, share of the memory's rate, operations per second; torch beside."""
    from vortex.bench.measurement import run_measurement
    from vortex.bench.memory.kernels import KernelsMeasurement
    from vortex.errors import RequestError
    from vortex.kernels.formats import Format

    if attention:
        from vortex.bench.memory.attention import AttentionMeasurement

        present(run_measurement(AttentionMeasurement(context, runs)), json_out, plot)
        return
    names = list(Format.__members__) if formats == "all" else [name.strip() for name in formats.split(",")]
    unknown = [name for name in names if name not in Format.__members__]
    if unknown:
        raise RequestError(f"no format {unknown[0]!r}; known: {', '.join(Format.__members__)}")
    if columns % 256:
        raise RequestError(f"--columns {columns} is no multiple of 256")
    measurement = KernelsMeasurement(
        formats=[Format[name] for name in names],
        rows=rows,
        columns=columns,
        runs=runs,
        with_torch=importlib.util.find_spec("torch") is not None,
    )
    present(run_measurement(measurement), json_out, plot)
