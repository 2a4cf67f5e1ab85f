"""How a measurement is shown, and the options that all measurements share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from vortex.bench.report import Report

JsonOutOption = Annotated[Path | None, typer.Option("--json-out", help="Also write the JSON line to this file.")]
PlotOption = Annotated[Path | None, typer.Option("--plot", help="Also draw the figures into this PNG.")]
PeerPythonOption = Annotated[
    str | None, typer.Option("--peer-python", help="Interpreter that has the peer; VORTEX_PEER_PYTHON sets it too.")
]
RunsOption = Annotated[int, typer.Option("--runs", min=1, help="Runs; the median counts.")]


def keep_parts(json_out: Path | None) -> Callable[[Report], None]:
    """Writes what a long measurement knows so far, so that one that is cut short has said it."""

    def keep(report: Report) -> None:
        from vortex.bench.report import save_json

        if json_out is not None:
            save_json(report, json_out)

    return keep


def present(report: Report, json_out: Path | None, plot: Path | None) -> None:
    """Table, file, picture, and the JSON line last."""
    from rich.table import Table

    from vortex.bench.report import save_json, save_plot
    from vortex.cli.terminal import output

    first, *others = report.columns
    table = Table(title=report.title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    table.add_column(first)
    for column in others:
        table.add_column(column, justify="right")
    for row in report.rows:
        table.add_row(*row)
    output().print(table)
    if json_out:
        save_json(report, json_out)
    if plot:
        save_plot(report, plot)
    typer.echo(report.as_json())
