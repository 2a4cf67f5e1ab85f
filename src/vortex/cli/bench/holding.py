"""`vortex bench restart` and `vortex bench swap`: the prompt cache on disk, and two models under a budget for one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from vortex.cli.bench.presenting import JsonOutOption, RunsOption, present
from vortex.cli.options import ModelOption, ProfileOption, SetOption

if TYPE_CHECKING:
    from vortex.engine.prompt_store import PromptStoreOptions
    from vortex.protocols import ChatBackend


def register(group: typer.Typer) -> None:
    group.command("restart")(restart)
    group.command("swap")(swap)


def restart(
    *,
    profile: ProfileOption = None,
    model: ModelOption = None,
    tokens: Annotated[int, typer.Option(min=300, help="Tokens of the prompt, about.")] = 11_000,
    runs: RunsOption = 1,
    json_out: JsonOutOption = None,
    set_: SetOption = None,
) -> None:
    """First token of a long conversation's second turn after a restart, beside the cold one."""
    from dataclasses import replace

    from vortex.bench.measurement import run_measurement
    from vortex.bench.second_turn import PHRASE, SecondTurnMeasurement
    from vortex.cli.composition import open_model, settings_for
    from vortex.engine.backend import LocalBackend
    from vortex.engine.options import EngineOptions
    from vortex.types import ModelCard

    loaded = settings_for(profile, set_, {"model.name": model})
    first = open_model(loaded)
    counted = len(first.tokenizer.encode(PHRASE * 50)) / 50
    options = EngineOptions(prefix_cache_bytes=loaded.settings.runtime.prefix_cache_mb << 20)
    first.model.close()

    def open_backend(store: PromptStoreOptions | None) -> ChatBackend:
        opened = open_model(loaded)
        card = ModelCard(name=opened.name)
        with_store = replace(options, prompt_store=store)
        return LocalBackend(opened.model, opened.tokenizer, opened.chat_format, card, with_store)

    def text_of(num_tokens: int) -> str:
        return PHRASE * max(1, round(num_tokens / counted))

    present(run_measurement(SecondTurnMeasurement(open_backend, first.name, tokens, runs, text_of)), json_out, None)


def swap(
    names: Annotated[list[str] | None, typer.Argument(help="Two models that are on this machine.")] = None,
    *,
    turns: Annotated[int, typer.Option(min=1, help="How often each is asked for.")] = 5,
    json_out: JsonOutOption = None,
    set_: SetOption = None,
) -> None:
    """Two models used in turn under a budget that holds one: what a swap costs beside opening."""
    from vortex.bench.measurement import run_measurement
    from vortex.bench.swapping import SwapMeasurement
    from vortex.cli.composition import settings_for
    from vortex.cli.several import offers, open_named
    from vortex.engine.several import SeveralModels, SeveralOptions, Shelf
    from vortex.errors import RequestError

    loaded = settings_for(None, set_, {})
    chosen = names or ["smollm2-135m", "qwen2.5-coder-0.5b"]
    known = {offer.card.name: offer for offer in offers(loaded)}
    if len(chosen) != 2 or any(name not in known for name in chosen):
        raise RequestError(f"name two models of those on this machine: {', '.join(known)} (vortex pull fetches more)")
    budget_bytes = max(known[name].size_bytes for name in chosen)

    def house() -> SeveralModels:
        shelf = Shelf(offers=lambda: offers(loaded), open=lambda name: open_named(loaded, name))
        first = known[chosen[0]]
        options = SeveralOptions(budget_bytes=budget_bytes)
        return SeveralModels(first, open_named(loaded, chosen[0]), shelf, options)

    measurement = SwapMeasurement(house, lambda name: open_named(loaded, name), chosen, turns)
    present(run_measurement(measurement), json_out, None)
