"""`vortex bench generate`: what drafts are worth, or whether they ever change an answer."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vortex.cli.bench.presenting import JsonOutOption, present
from vortex.cli.command_options import with_options
from vortex.cli.options import ModelOption, ProfileOption, SetOption
from vortex.config.data_folder import data_path

if TYPE_CHECKING:
    from vortex.bench.asking import Subject
    from vortex.bench.peer import Peer
    from vortex.bench.report import Report
    from vortex.config.loading import LoadedSettings
    from vortex.models.opened import Opened
    from vortex.protocols import LanguageModel

PENALTIES = (1.0, 1.1)
PEERS = ("transformers", "llama.cpp")
PAGED_SHARE = "80%"  # of the weights, where equality is compared and no budget is named
ALL_WAYS_PROMPTS = 4
LINES_EVERY_S = 15  # of what has been done, where no terminal shows it
NUM_COVERING_WAYS = 28  # at least: then no prompt is left out


def register(group: typer.Typer) -> None:
    group.command("generate")(with_options(generate))


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerateBench:
    profile: ProfileOption = None
    model: ModelOption = None
    budget: Annotated[
        str | None,
        typer.Option("--budget", metavar="SIZE", help="Memory for weights: a size, or a share of them like 50%."),
    ] = None
    max_new: Annotated[int, typer.Option("--max-new-tokens", "--max-new", min=2, help="Tokens of an answer.")] = 256
    prompts: Annotated[int, typer.Option("--prompts", min=1, max=36, help="Prompts of each of the six kinds.")] = 4
    penalty: Annotated[
        list[float] | None, typer.Option("--penalty", min=0.1, help="Repetition penalty. Repeatable; 1 and 1.1.")
    ] = None
    peer: Annotated[
        list[str] | None, typer.Option("--peer", help="Also measure transformers or llama.cpp. Repeatable.")
    ] = None
    peer_python: Annotated[
        str | None, typer.Option("--peer-python", help="Interpreter with llama_cpp; VORTEX_PEER_PYTHON sets it too.")
    ] = None
    equality: Annotated[
        bool, typer.Option("--equality", help="Compare answers over ways to draft and to run, instead of timing.")
    ] = False
    all_ways: Annotated[
        bool, typer.Option("--all-ways", help="With --equality: the whole product, not a pairwise covering set.")
    ] = False
    part: Annotated[
        str | None, typer.Option("--part", metavar="K/N", help="With --equality: part K of N of the ways, like 1/3.")
    ] = None
    json_out: JsonOutOption = None
    plot: Annotated[Path | None, typer.Option("--plot", help="Also draw what was accepted into this PNG.")] = None
    set_: SetOption = None


def generate(options: GenerateBench) -> None:
    """Plain decoding beside decoding with drafts, by kind of task; the last table stays in data/bench/latest.txt.

    Examples:

      vortex bench generate --max-new-tokens 256 --prompts 4

      vortex bench generate --budget 50% --prompts 2

      vortex bench generate --set bad.penalty_window=256

      vortex bench generate --peer transformers --peer llama.cpp --peer-python ~/peer/bin/python
    """
    from vortex.bench.blocks import save_latest
    from vortex.cli.composition import settings_for

    flags: dict[str, object] = {"model.name": options.model}
    budget_mb = _budget_mb(options.budget, settings_for(options.profile, options.set_, flags))
    loaded = settings_for(options.profile, options.set_, {**flags, "runtime.cache_vram_budget_mb": budget_mb})
    if options.equality:
        report = _compare(loaded, options.prompts, all_ways=options.all_ways, part=_part(options.part))
    else:
        with ExitStack() as stack:
            peers = [stack.enter_context(each) for each in _peers(options.peer or [], options.peer_python)]
            report = _time(loaded, options, peers)
    present(report, options.json_out, options.plot)
    save_latest(report, data_path("bench", "latest.txt"))


def _time(loaded: LoadedSettings, options: GenerateBench, peers: Sequence[Peer]) -> Report:
    from vortex.bench.blocks import BlocksMeasurement
    from vortex.bench.measurement import run_measurement
    from vortex.bench.task_prompts import spread, task_prompts
    from vortex.cli.composition import drafters_for, open_model
    from vortex.cli.terminal import working
    from vortex.machine.cores import compute_threads
    from vortex.protocols import Counting

    opened = open_model(loaded)
    model = opened.model
    with working("measuring", LINES_EVERY_S) as progress:
        measurement = BlocksMeasurement(
            subject=_subject(opened, loaded),
            drafters=lambda: drafters_for(loaded, opened),
            prompts=spread(task_prompts(), options.prompts),
            new_tokens=options.max_new,
            max_block=loaded.settings.bad.max_block,
            penalties=options.penalty or PENALTIES,
            penalty_window=loaded.settings.bad.penalty_window,
            peers=peers,
            model_file=opened.path,
            threads=compute_threads(loaded.settings.runtime.threads),
            weights=f"paged, budget {options.budget}" if options.budget else "resident",
            paging=model.counters if isinstance(model, Counting) else dict,
            progress=progress,
        )
        try:
            return run_measurement(measurement)
        finally:
            model.close()


def _compare(loaded: LoadedSettings, per_kind: int, *, all_ways: bool, part: tuple[int, int]) -> Report:
    """Resident and paged. Every prompt of the set is used; each way takes about `per_kind` of a kind; all ways of the
    product take the same four prompts."""
    from vortex.bench.equality import EqualityMeasurement
    from vortex.bench.measurement import run_measurement
    from vortex.bench.task_prompts import spread, task_prompts
    from vortex.cli.composition import open_model
    from vortex.cli.terminal import working

    paged = loaded
    if not loaded.settings.runtime.cache_vram_budget_mb:
        paged = _with_budget(loaded, _budget_mb(PAGED_SHARE, loaded) or 0)
    opened = {
        "resident": open_model(_with_budget(loaded, 0)),
        "paged": open_model(paged),
    }
    prompts = task_prompts()
    with working("comparing", LINES_EVERY_S) as progress:
        measurement = EqualityMeasurement(
            subjects={weights: _subject(each, loaded) for weights, each in opened.items()},
            prompts=spread(prompts, 1)[:ALL_WAYS_PROMPTS] if all_ways else prompts,
            stride=1 if all_ways else min(36 // per_kind, NUM_COVERING_WAYS),
            all_ways=all_ways,
            part=part,
            progress=progress,
        )
        return run_measurement(measurement)


def _part(text: str | None) -> tuple[int, int]:
    from vortex.errors import RequestError

    part, _, num_parts = (text or "1/1").partition("/")
    if not (part.isdigit() and num_parts.isdigit() and 1 <= int(part) <= int(num_parts)):
        raise RequestError(f"--part {text}: write a part and how many there are, like 1/3")
    return int(part), int(num_parts)


def _with_budget(loaded: LoadedSettings, megabytes: int) -> LoadedSettings:
    from dataclasses import replace

    runtime = loaded.settings.runtime.model_copy(update={"cache_vram_budget_mb": megabytes})
    return replace(loaded, settings=loaded.settings.model_copy(update={"runtime": runtime}))


def _subject(opened: Opened[LanguageModel], loaded: LoadedSettings) -> Subject:
    from vortex.bench.asking import Subject

    return Subject(opened.name, opened.model, opened.tokenizer, opened.chat_format, loaded.settings.chat.system)


def _peers(names: Sequence[str], python: str | None) -> list[Peer]:
    from vortex.bench.peer import Peer, peer_python
    from vortex.errors import RequestError

    for name in names:
        if name not in PEERS:
            raise RequestError(f"no peer '{name}'. Peers: {', '.join(PEERS)}")
    return [
        Peer(name, peer_python(python)) if name == "llama.cpp" else Peer(f"{name} lookup", sys.executable)
        for name in names
    ]


def _budget_mb(budget: str | None, loaded: LoadedSettings) -> int | None:
    """Megabytes of a size, or of a share of what a sweep reads of the model's weights."""
    from vortex.c3.format.sizes import parse_bytes
    from vortex.c3.sources import units_of
    from vortex.cli.composition import load_options, resolve_model
    from vortex.errors import RequestError
    from vortex.models.decoder.opening import packed_folder

    if budget is None:
        return None
    if not budget.endswith("%"):
        return -(-parse_bytes(budget) // 10**6)
    try:
        share = float(budget[:-1]) / 100
    except ValueError:
        raise RequestError(f"--budget {budget}: write a size like 2GB, or a share like 50%") from None
    resolved = resolve_model(loaded)
    units = units_of(packed_folder(resolved.path, load_options(resolved, loaded)).entries)
    sweep_bytes = sum(entry.num_bytes for parts in units.values() for entry in parts)
    return max(round(share * sweep_bytes / 10**6), 1)
