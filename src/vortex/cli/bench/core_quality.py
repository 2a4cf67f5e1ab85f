"""`vortex bench core-quality`: see bench/vblocks/quality.py."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vortex.cli.bench.presenting import JsonOutOption, PlotOption, present
from vortex.cli.improve.core_fields import CoreFieldOption, fields_of
from vortex.cli.made import made_folder
from vortex.cli.options import ProfileOption, SetOption

if TYPE_CHECKING:
    from vortex.learn.core_run import CoreRun


@dataclass(frozen=True, slots=True, kw_only=True)
class CoreQuality:
    data: Annotated[
        list[Path] | None, typer.Option("--data", help="Text, a file or folder. Without it: this machine's.")
    ] = None
    size: Annotated[str, typer.Option("--size", help="Of the core: tiny, small, shipped, medium.")] = "tiny"
    steps: Annotated[int, typer.Option("--steps", min=1, help="Of each training.")] = 300
    window: Annotated[int, typer.Option("--window", min=16, help="Tokens of one row.")] = 256
    batch_tokens: Annotated[int, typer.Option("--batch-tokens", min=16, help="Tokens of one step.")] = 2048
    vocab_size: Annotated[int, typer.Option("--vocab-size", help="Of the tokenizer, made of the same text.")] = 2048
    rate: Annotated[list[float] | None, typer.Option("--rate", help="A learning rate of the sweep. Repeatable.")] = None
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="Trainings with the best rate.")] = 3
    arch: Annotated[
        list[str] | None,
        typer.Option("--arch", help="core, transformer, window, recall. Repeatable; without it, all."),
    ] = None
    core: CoreFieldOption = None
    folder: Annotated[
        Path | None,
        typer.Option("--folder", help="Results of each training; a sweep goes on there. Else data/core-quality."),
    ] = None
    device: Annotated[str | None, typer.Option("--device", help="auto, cpu or cuda.")] = None
    corpus_mb: Annotated[int, typer.Option("--corpus-mb", min=1, help="Text of this machine, without --data.")] = 10
    json_out: JsonOutOption = None
    plot: PlotOption = None
    profile: ProfileOption = None
    set_: SetOption = None


def core_quality(options: CoreQuality) -> None:
    """Bits per byte of a small core beside Transformers of equal weights, equal tokens, and of equal state bytes."""
    from vortex.bench.measurement import run_measurement
    from vortex.bench.vblocks.quality import CoreQualityMeasurement
    from vortex.cli.terminal import notice
    from vortex.learn.quality import ARCHS, QualityTrainer

    folder = options.folder or made_folder("core-quality")
    run = _run(options, folder)
    trainer = QualityTrainer(run, folder / "trials")
    measurement = CoreQualityMeasurement(
        train=trainer,
        described=trainer.describe(),
        archs=options.arch or ARCHS,
        rates=options.rate or [1e-3, 2e-3, 4e-3],
        seeds=options.seeds,
        data=", ".join(path.name for path in options.data) if options.data else "this machine's text",
        device=str(run.device),
        say=notice,
    )
    present(run_measurement(measurement), options.json_out, options.plot)


def _run(options: CoreQuality, folder: Path) -> CoreRun:
    """What every training of the sweep has in common."""
    from vortex.cli.composition import settings_for
    from vortex.cli.terminal import notice
    from vortex.machine.torch_device import choose_device

    settings = settings_for(options.profile, options.set_, {"runtime.device": options.device}).settings
    where = choose_device(settings.runtime.device, settings.runtime.threads)
    from vortex.learn.core_run import CoreRun
    from vortex.learn.core_sizes import core_of_size
    from vortex.learn.tokenizers import made_of
    from vortex.training.loop import TrainingOptions

    paths = options.data or [machine_text(folder / "text.jsonl", options.corpus_mb)]
    chosen = made_of(paths, folder / "tokenizer", vocab_size=options.vocab_size, parse="fewest", say=notice)
    return CoreRun(
        data=paths,
        out=folder / "run",
        encoder=chosen.encoder,
        config=core_of_size(options.size, chosen.encoder.vocab_size, **fields_of(options.core or [])),
        options=TrainingOptions(
            steps=options.steps,
            window=options.window,
            batch=max(1, options.batch_tokens // options.window),
            evaluate_every=max(1, options.steps // 4),
        ),
        bytes_of_id=chosen.bytes_of_id,
        device=where,
        store_folder=folder / "tokens",
        keep_states=False,
    )


def machine_text(file: Path, corpus_mb: int) -> Path:
    """English, code and markup of this machine as documents; written once."""
    import json

    from vortex.bench.tokenizer.corpora import RANDOM_SLICE, gather
    from vortex.records.atomic import atomic_write

    if file.exists():
        return file
    documents = gather(corpus_mb * 1_000_000)
    held = [text for name, texts in documents.held_out.items() if name != RANDOM_SLICE for text in texts]
    with atomic_write(file) as stream:
        for text in documents.training + held:
            row = {"text": text.decode("utf-8", errors="replace")}
            stream.write((json.dumps(row, ensure_ascii=False) + "\n").encode())
    return file
