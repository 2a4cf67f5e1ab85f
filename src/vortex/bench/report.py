"""What a measurement found, and its three faces: a table for people, one line of JSON for programs, a picture.

The JSON names the machine and the versions, so that a figure can be quoted with where it comes from.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from vortex import __version__
from vortex.bench.machine import describe_machine
from vortex.errors import MissingCapability
from vortex.records.atomic import atomic_write


@dataclass(frozen=True, slots=True)
class Report:
    """rows: a table, first the names. figures: what programs read, units in the keys. bars: what the plot shows."""

    name: str
    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    figures: Mapping[str, object]
    bars: Mapping[str, float] = field(default_factory=dict)
    bars_unit: str = ""

    def as_json(self) -> str:
        """One line."""
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        head = {"measurement": self.name, "version": __version__, "time": now, "machine": describe_machine()}
        return json.dumps({**head, **self.figures})


def save_json(report: Report, path: Path) -> None:
    """Write the report's JSON atomically; missing folders are made."""
    with atomic_write(path) as file:
        file.write((report.as_json() + "\n").encode())


def save_plot(report: Report, path: Path) -> None:
    """Write the report's bars as a PNG. Raises MissingCapability without matplotlib."""
    try:
        import matplotlib
    except ImportError as error:
        raise MissingCapability("a plot needs matplotlib: pip install matplotlib") from error
    matplotlib.use("Agg")
    from matplotlib import pyplot

    names = list(report.bars)
    figure, axes = pyplot.subplots(figsize=(7, 0.6 + 0.45 * len(names)), layout="constrained")
    bars = axes.barh(names, [report.bars[name] for name in names], color="#3b6ea5")
    axes.bar_label(bars, fmt="%.3g", padding=4)
    axes.invert_yaxis()
    axes.set_xlabel(report.bars_unit)
    axes.set_title(report.title, loc="left", fontsize=10)
    axes.margins(x=0.12)
    axes.spines[["top", "right"]].set_visible(False)
    with atomic_write(path) as file:
        figure.savefig(file, format="png", dpi=140)
    pyplot.close(figure)
