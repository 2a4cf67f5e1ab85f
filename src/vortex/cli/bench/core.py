"""`vortex bench core`: what the V-Blocks core promises, part by part."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vortex.cli.bench.presenting import JsonOutOption, PlotOption, present
from vortex.cli.command_options import with_options

if TYPE_CHECKING:
    from vortex.bench.measurement import Measurement

RECALL_PARTS = ("mqar", "filler", "passkey")
SEEDS = [0, 1, 2]
SHIPPED = "vortex-core"


def register(group: typer.Typer) -> None:
    group.command("core")(with_options(core))


@dataclass(frozen=True, slots=True, kw_only=True)
class CoreBench:
    part: Annotated[
        str,
        typer.Argument(
            help="parity, flat, clusters, mtp, depth; mqar, filler, passkey: these train small cores first."
        ),
    ] = "parity"
    size: Annotated[str, typer.Option("--size", help="What is trained: small (two cores) or large (a GPU).")] = "small"
    seed: Annotated[list[int] | None, typer.Option("--seed", help="Of a training run; repeatable.")] = None
    variant: Annotated[str | None, typer.Option("--variant", help="Train this one alone; needs --results.")] = None
    seconds: Annotated[float | None, typer.Option("--seconds", min=1, help="Of each training run.")] = None
    device: Annotated[str, typer.Option("--device", help="Where it is trained: cpu or cuda.")] = "cpu"
    results: Annotated[
        Path | None, typer.Option("--results", help="Folder of training results: written with --variant, else read.")
    ] = None
    model: Annotated[
        str | None, typer.Option("--model", help="mtp: the core that is asked; depth: the one without a gate.")
    ] = None
    gated: Annotated[Path | None, typer.Option("--gated", help="depth: the core with a depth gate.")] = None
    text: Annotated[Path | None, typer.Option("--text", help="depth: a text that neither was trained on.")] = None
    json_out: JsonOutOption = None
    plot: PlotOption = None


def core(options: CoreBench) -> None:
    """The V-Blocks core: parity of its forms, flat cost at any length, recall against a state without a memory, what
    its further heads and a depth gate save.

    Examples:

      vortex bench core flat

      vortex bench core mtp

      vortex bench core depth --model data/plain --gated data/gated --text held_out.txt

      vortex bench core mqar --seed 0 --seconds 150
    """
    from vortex.bench.measurement import run_measurement

    if options.part in RECALL_PARTS and options.variant is not None:
        _train_alone(options, options.variant)
        return
    present(run_measurement(_measurement(options)), options.json_out, options.plot)


def _measurement(options: CoreBench) -> Measurement:
    from vortex.errors import RequestError

    if options.part in RECALL_PARTS:
        return _recall(options)
    made: dict[str, Callable[[], Measurement]] = {
        "parity": _parity,
        "flat": _flat,
        "clusters": _clusters,
        "mtp": lambda: _mtp(options.model),
        "depth": lambda: _depth(options.model, options.gated, options.text),
    }
    if options.part not in made:
        raise RequestError(f"no part '{options.part}'; there are {', '.join((*made, *RECALL_PARTS))}")
    return made[options.part]()


def _parity() -> Measurement:
    from vortex.bench.vblocks.parity import ParityMeasurement

    return ParityMeasurement()


def _flat() -> Measurement:
    from vortex.bench.vblocks.flat import FlatMeasurement

    return FlatMeasurement()


def _clusters() -> Measurement:
    from vortex.bench.vblocks.clusters import ClustersMeasurement

    return ClustersMeasurement()


def _mtp(model: str | None) -> Measurement:
    from vortex.bench.asking import Subject
    from vortex.bench.vblocks.mtp import MtpMeasurement, held_out_questions
    from vortex.cli.composition import open_model, settings_for
    from vortex.cli.terminal import notice
    from vortex.learn.dialogues import teacher_prompts

    opened = open_model(settings_for("dev_small", None, {"model.name": model or SHIPPED}))
    subject = Subject(opened.name, opened.model, opened.tokenizer, opened.chat_format)
    heads = opened.model.draft_heads
    groups = {
        "of its training": [prompt.question for prompt in teacher_prompts(seed=991, count=32)],
        "words it never saw": held_out_questions(),
    }
    return MtpMeasurement(subject, heads, groups, progress=notice)


def _depth(plain: str | None, gated: Path | None, text: Path | None) -> Measurement:
    from vortex.bench.vblocks.depth import DepthMeasurement, read_core_pair
    from vortex.cli.terminal import notice
    from vortex.errors import RequestError

    if plain is None or gated is None or text is None:
        raise RequestError("depth wants two cores and a text: --model FOLDER --gated FOLDER --text FILE")
    try:
        words = text.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RequestError(f"--text {text} cannot be read: {error}") from error
    return DepthMeasurement(*read_core_pair(Path(plain), gated), words, progress=notice)


def _changes(options: CoreBench) -> dict[str, object]:
    """What a training of a recall task takes other than usual."""
    return {"device": options.device} | ({"seconds": options.seconds} if options.seconds else {})


def _recall(options: CoreBench) -> Measurement:
    from vortex.bench.vblocks.recall import RecallMeasurement, recall_task
    from vortex.cli.terminal import notice

    task = recall_task(options.part, options.size)
    seeds = options.seed or SEEDS
    return RecallMeasurement(task, seeds=seeds, say=notice, kept=options.results, **_changes(options))


def _train_alone(options: CoreBench, variant: str) -> None:
    """One file per seed, for a report later: runs may be spread over processes and machines."""
    import json
    import re

    from vortex.bench.vblocks.recall import recall_task, run_one
    from vortex.cli.terminal import notice
    from vortex.errors import RequestError
    from vortex.records.atomic import atomic_write

    task = recall_task(options.part, options.size)
    if options.results is None:
        raise RequestError("--variant trains for a report later: say where to with --results FOLDER")
    for seed in options.seed or SEEDS:
        result = run_one(task, variant, seed, notice, **_changes(options))
        slug = re.sub(r"\W+", "-", variant).strip("-")
        text = json.dumps(result.as_json())
        with atomic_write(options.results / f"{task.name}-{slug}-{seed}.json") as file:
            file.write((text + "\n").encode())
        typer.echo(text)
