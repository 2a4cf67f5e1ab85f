"""`vortex models recommend`, and the one line after the first chat: what of the known models this machine should run.

Measures memory's rate for half a second and looks at free memory and disk. Asks no network and fetches nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from vortex.cli.options import JsonOption

if TYPE_CHECKING:
    from vortex.config.loading import LoadedSettings
    from vortex.hub.recommended import Advice, Machine

TOLD_FILE = "told-a-better-model"  # in the cache's folder: the first chat has said its line
Purpose = Literal["chat", "code", "tools", "spanish"]


def recommend(
    purpose: Annotated[Purpose | None, typer.Argument(help="chat, code, tools or spanish; without one: each.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Say which model this machine should run: by its memory, cores and disk, with the speed to expect.

    Examples:

      vortex models recommend

      vortex models recommend code
    """
    from vortex.cli.terminal import output, print_json
    from vortex.hub.recommended import PURPOSES, advise

    machine = measured_machine()
    advice = advise(machine, names_here(), [purpose] if purpose else PURPOSES)
    if as_json:
        print_json({"machine": _machine_json(machine), "recommended": [_advice_json(one) for one in advice]})
        return
    if not advice:
        typer.echo("No known model fits the free memory and disk; close other programs, or set --budget to page one.")
        return
    from rich.table import Table

    table = Table("for", "model", "size", "at most", "licence", box=None, pad_edge=False, header_style="bold")
    for one in advice:
        size = f"{one.candidate.size_bytes / 1e9:.1f} GB{' (here)' if one.is_here else ''}"
        table.add_row(one.purpose, one.candidate.name, size, f"{_rate(one)} tokens/s", one.candidate.licence)
    output().print(table)
    typer.echo(f"Try it: vortex chat --model {advice[0].candidate.name}")
    typer.echo(f"({_spelled(machine)}; the speed is memory's rate over what a token reads, a ceiling)")


def measured_machine() -> Machine:
    from vortex.hub.cache import cache_home
    from vortex.hub.recommended import Machine
    from vortex.kernels.memory_rate import memory_read_bytes_per_s
    from vortex.machine.measured import disk_free_bytes, memory_available_bytes

    return Machine(memory_available_bytes(), disk_free_bytes(cache_home()), memory_read_bytes_per_s())


def names_here() -> list[str]:
    from vortex.hub.cache import ModelCache

    return [model.name for model in ModelCache().list()]


def tell_once(loaded: LoadedSettings) -> None:
    """After a chat with the model that nobody chose: one line about a better one, the first time only."""
    from vortex.cli.terminal import notice
    from vortex.hub.cache import cache_home
    from vortex.hub.catalogue import CATALOGUE, DEFAULT_MODEL
    from vortex.hub.recommended import better_than

    told, model = cache_home() / TOLD_FILE, loaded.settings.model
    chosen = model.name != DEFAULT_MODEL or not loaded.is_built_in("model.name")
    if chosen or model.backend != "local" or told.exists():
        return
    try:
        told.parent.mkdir(parents=True, exist_ok=True)
        told.touch()
    except OSError:
        return  # a home that cannot be written would be told every time
    better = better_than(model.name, measured_machine(), names_here(), list(CATALOGUE))
    if better is not None:
        size = f"{better.candidate.size_bytes / 1e9:.1f} GB"
        notice(
            f"this machine can run a better model: {better.candidate.name}, {size}, up to {_rate(better)} tokens/s: "
            f"vortex chat --model {better.candidate.name} (more: vortex models recommend)"
        )


def _rate(advice: Advice) -> str:
    return f"{advice.tokens_per_s:.{0 if advice.tokens_per_s >= 10 else 1}f}"


def _spelled(machine: Machine) -> str:
    return (
        f"free: {machine.memory_bytes / 1e9:.1f} GB of memory, {machine.disk_bytes / 1e9:.1f} GB of disk; "
        f"memory is read at {machine.memory_bytes_per_s / 1e9:.1f} GB/s"
    )


def _machine_json(machine: Machine) -> dict[str, Any]:
    from vortex.machine.cores import usable_cores

    return {
        "memory_free_bytes": machine.memory_bytes,
        "disk_free_bytes": machine.disk_bytes,
        "memory_bytes_per_s": round(machine.memory_bytes_per_s),
        "cores": usable_cores(),
    }


def _advice_json(advice: Advice) -> dict[str, Any]:
    return {
        "for": advice.purpose,
        "model": advice.candidate.name,
        "size_bytes": round(advice.candidate.size_bytes),
        "tokens_per_s_at_most": round(advice.tokens_per_s, 1),
        "licence": advice.candidate.licence,
        "is_here": advice.is_here,
    }
