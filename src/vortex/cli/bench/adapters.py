"""`vortex bench adapters`: the price of adapters in a sweep."""

from __future__ import annotations

from typing import Annotated

import typer

from vortex.cli.bench.presenting import JsonOutOption, PlotOption, present
from vortex.cli.options import BackendOption, BudgetOption, ModelOption, ProfileOption, SetOption

PROMPT = "The history of the printing press begins "


def adapters(
    *,
    profile: ProfileOption = None,
    model: ModelOption = None,
    backend: BackendOption = None,
    budget: BudgetOption = None,
    rank: Annotated[int, typer.Option(min=1, max=1024, help="Rank of the adapters.")] = 16,
    many: Annotated[int, typer.Option(min=2, max=64, help="Different adapters in one sweep.")] = 8,
    kind: Annotated[str, typer.Option("--type", help="float32, bfloat16 or float16.")] = "bfloat16",
    rounds: Annotated[int, typer.Option(min=1, help="Sweeps of each kind, in turns; the median counts.")] = 40,
    json_out: JsonOutOption = None,
    plot: PlotOption = None,
    set_: SetOption = None,
) -> None:
    """Sweeps with one adapter and with different ones, against the same sweeps without any."""
    from vortex.bench.adapters import TYPES, AdaptersMeasurement
    from vortex.bench.measurement import run_measurement
    from vortex.cli.composition import open_model, settings_for
    from vortex.errors import RequestError
    from vortex.protocols import TakesAdapters

    if kind not in TYPES:
        raise RequestError(f"no type '{kind}'; known: {', '.join(TYPES)}")
    flags = {"model.name": model, "model.backend": backend, "runtime.cache_vram_budget_mb": budget}
    opened = open_model(settings_for(profile, set_, flags))
    if not isinstance(opened.model, TakesAdapters):
        raise RequestError(f"{opened.name} takes no adapters; name another --model")
    measurement = AdaptersMeasurement(
        model=opened.model,
        model_name=opened.name,
        shapes=opened.model.adapter_targets(),
        prompt=opened.tokenizer.encode(PROMPT * 64, add_bos=True)[:256],
        rank=rank,
        many=many,
        kind=kind,
        rounds=rounds,
    )
    present(run_measurement(measurement), json_out, plot)
