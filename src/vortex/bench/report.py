"""What a measurement found, and its three faces: a table for people, one line of JSON for programs, a picture.

The JSON names the machine and the versions, so that a figure can be quoted with where it comes from.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from vortex import __version__
from vortex.errors import MissingCapability
from vortex.machine.measured import describe_machine
from vortex.records.atomic import atomic_write

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True, slots=True)
class Curves:
    """Lines over a common axis, both logarithmic: (x, y) by name. limits: drawn thin and grey, what physics allows.

    y_is_linear: y from 0 up, for shares.
    """

    x_label: str
    y_label: str
    lines: Mapping[str, Sequence[tuple[float, float]]]
    limits: Mapping[str, Sequence[tuple[float, float]]] = field(default_factory=dict)
    y_is_linear: bool = False


@dataclass(frozen=True, slots=True)
class Report:
    """rows: a table, first the names. figures: for programs, units in the keys. bars or curves: what the plot shows."""

    name: str
    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    figures: Mapping[str, object]
    bars: Mapping[str, float] = field(default_factory=dict)
    bars_unit: str = ""
    curves: Curves | None = None

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
    """Write the report's curves, else its bars, as a PNG. Raises MissingCapability without matplotlib."""
    try:
        import matplotlib
    except ImportError as error:
        raise MissingCapability("a plot needs matplotlib: pip install matplotlib") from error
    matplotlib.use("Agg")
    from matplotlib import pyplot

    height = 4.5 if report.curves else 0.6 + 0.45 * len(report.bars)
    figure, axes = pyplot.subplots(figsize=(7, height), layout="constrained")
    if report.curves:
        _draw_curves(axes, report.curves)
    else:
        _draw_bars(axes, report.bars, report.bars_unit)
    axes.set_title(report.title, loc="left", fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
    with atomic_write(path) as file:
        figure.savefig(file, format="png", dpi=140)
    pyplot.close(figure)


def _draw_bars(axes: Axes, bars: Mapping[str, float], unit: str) -> None:
    drawn = axes.barh(list(bars), list(bars.values()), color="#3b6ea5")
    axes.bar_label(drawn, fmt="%.3g", padding=4)
    axes.invert_yaxis()
    axes.set_xlabel(unit)
    axes.margins(x=0.12)


def _draw_curves(axes: Axes, curves: Curves) -> None:
    for name, points in curves.limits.items():
        axes.plot(*zip(*points, strict=True), color="#9a9a9a", linewidth=1, linestyle="--", label=name)
    for name, points in curves.lines.items():
        axes.plot(*zip(*points, strict=True), marker="o", markersize=3.5, label=name)
    axes.set_xscale("log", base=2)
    highest = max(y for points in curves.lines.values() for _, y in points)
    if curves.y_is_linear:
        axes.set_ylim(bottom=0, top=1.05 * highest)
    else:
        axes.set_yscale("log")
        axes.set_ylim(top=3 * highest)  # a limit far above what was measured says nothing
    axes.set_xlabel(curves.x_label)
    axes.set_ylabel(curves.y_label)
    axes.legend(fontsize=8, frameon=False)
