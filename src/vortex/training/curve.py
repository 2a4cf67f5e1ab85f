"""The loss curve of a training as JSON and, where matplotlib is installed, as a picture."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vortex.records.atomic import atomic_write
from vortex.training.state import Progress

Points = Sequence[tuple[int, float]]


def save_curve(folder: Path, progress: Progress, recipe: Mapping[str, Any], *, draw: bool) -> list[Path]:
    """Write curve.json and, if it can be drawn, curve.png; the files that were written."""
    written = [folder / "curve.json"]
    with atomic_write(written[0]) as file:
        file.write((json.dumps({"recipe": dict(recipe), **progress.to_json()}) + "\n").encode())
    if draw and importlib.util.find_spec("matplotlib") is not None and progress.curve:
        written.append(folder / "curve.png")
        _draw(written[1], progress)
    return written


def draw_distillation(path: Path, losses: Mapping[str, Points], held_out: Points) -> bool:
    """Losses by stage over tokens, and the divergence from the teacher on held-out text. False without matplotlib."""
    if importlib.util.find_spec("matplotlib") is None:
        return False
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4), layout="constrained")
    for name, points in losses.items():
        if points:
            axes.plot(*zip(*_smoothed(list(points)), strict=True), linewidth=1, label=f"{name}, training")
    axes.plot(*zip(*held_out, strict=True), "o-", color="#c2662d", markersize=3, label="KL to the teacher, held out")
    axes.set_yscale("log")
    axes.set_xlabel("tokens")
    axes.set_ylabel("nats per token (align: relative error)")
    axes.legend(fontsize=8, frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    with atomic_write(path) as file:
        figure.savefig(file, format="png", dpi=130)
    pyplot.close(figure)
    return True


def _draw(path: Path, progress: Progress) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4), layout="constrained")
    axes.plot(*zip(*progress.curve, strict=True), color="#b8c7d9", linewidth=0.8)
    axes.plot(*zip(*_smoothed(progress.curve), strict=True), color="#3b6ea5", label="training, nats per token")
    axes.set_xlabel("step")
    axes.set_ylabel("nats per token")
    handles = axes.get_lines()[1:]
    if progress.held_out:
        right = axes.twinx()
        handles += right.plot(
            *zip(*progress.held_out, strict=True), "o-", color="#c2662d", markersize=3, label="held out, bits per byte"
        )
        right.set_ylabel("bits per byte")
        right.spines[["top"]].set_visible(False)
    axes.legend(handles=handles, fontsize=8, frameon=False)
    axes.spines[["top"]].set_visible(False)
    with atomic_write(path) as file:
        figure.savefig(file, format="png", dpi=130)
    pyplot.close(figure)


def _smoothed(curve: list[tuple[int, float]], keep: float = 0.9) -> list[tuple[int, float]]:
    """A running mean that begins at the first point."""
    mean, points = curve[0][1], []
    for step, value in curve:
        mean = keep * mean + (1 - keep) * value
        points.append((step, mean))
    return points
