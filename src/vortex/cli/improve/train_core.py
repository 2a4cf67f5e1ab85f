"""`vortex train-core`: see learn/core_run.py."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vortex.cli.command_options import with_options
from vortex.cli.improve.core_fields import CoreFieldOption, fields_of
from vortex.cli.made import made_folder
from vortex.cli.options import ProfileOption, SetOption

if TYPE_CHECKING:
    from vortex.config.schema import Settings, TrainCoreSettings, VortexTokSettings
    from vortex.learn.core_run import CoreRun
    from vortex.learn.tokenizers import ChosenTokenizer
    from vortex.training.loop import Tick, TrainingOptions
    from vortex.vblocks.checkpoint import CoreCheckpoint
    from vortex.vblocks.config import CoreConfig

PANEL = "Improve"


def register(app: typer.Typer) -> None:
    app.command("train-core", rich_help_panel=PANEL)(with_options(train_core))


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainCore:
    data: Annotated[list[Path], typer.Option("--data", help="A text file, .jsonl or a folder of them. Repeatable.")]
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder of the result, data/core; the same command goes on there.")
    ] = None
    steps: Annotated[int, typer.Option("--steps", min=0, help="Updates in all.")] = 0
    minutes: Annotated[float, typer.Option("--minutes", min=0, help="Or: minutes of training in all.")] = 0.0
    size: Annotated[str | None, typer.Option("--size", help="tiny, small, deep, shipped, medium or large.")] = None
    core: CoreFieldOption = None
    start_from: Annotated[
        Path | None, typer.Option("--start-from", help="Trained core to begin with, and its tokenizer; no --size.")
    ] = None
    tokenizer: Annotated[
        str, typer.Option("--tokenizer", help="auto: made of the data; bytes; or a folder of Vortex-Tok.")
    ] = "auto"
    vocab_size: Annotated[int | None, typer.Option("--vocab-size", help="Of a tokenizer made of the data.")] = None
    window: Annotated[int | None, typer.Option("--window", min=4, help="Tokens of one row.")] = None
    batch_tokens: Annotated[int | None, typer.Option("--batch-tokens", min=4, help="Tokens of one step.")] = None
    learning_rate: Annotated[float | None, typer.Option("--learning-rate", min=0, help="Its peak.")] = None
    arch: Annotated[str, typer.Option("--arch", help="core, or transformer: the baseline of equal size.")] = "core"
    device: Annotated[str | None, typer.Option("--device", help="auto, cpu or cuda.")] = None
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the weights and of the order of the data.")] = 0
    licence: Annotated[str, typer.Option("--licence", help="Of the data, written beside the result.")] = ""
    dtype: Annotated[str, typer.Option("--dtype", help="Of the saved weights: float32, float16 or int8.")] = "float32"
    limit_mb: Annotated[int, typer.Option("--limit-mb", min=1, help="Most text to read.")] = 1024
    profile: ProfileOption = None
    set_: SetOption = None


def train_core(options: TrainCore) -> None:
    """Train a V-Blocks core on text, from nothing or from a trained one. Goes on where it was stopped."""
    from vortex.cli.terminal import notice
    from vortex.machine.torch_device import choose_device

    _check(options)
    settings = _settings(options)
    where = choose_device(settings.runtime.device, settings.runtime.threads)
    from vortex.learn.core_run import train_core as run_training

    run = _run(options, settings, where)
    try:
        progress = run_training(run, say=notice, on_tick=Ticker())
    except KeyboardInterrupt:
        notice("")
        notice(f"stopped; the same command goes on from the last state in {run.out / 'training'}")
        raise typer.Exit(130) from None
    bits = f", {progress.held_out[-1][1]:.4f} bits per byte held out" if progress.held_out else ""
    typer.echo(f"{run.out}: {progress.step:,} steps, {progress.tokens:,} tokens in {progress.spent_s:.0f} s{bits}")


def _check(options: TrainCore) -> None:
    from vortex.errors import RequestError
    from vortex.vblocks.checkpoint import check_dtype

    check_dtype(options.dtype)
    if options.start_from and (options.size or options.arch != "core"):
        raise RequestError("--start-from has its size from the core it names: leave --size and --arch out")
    if options.arch not in {"core", "transformer"}:
        raise RequestError(f"--arch is core or transformer, not {options.arch!r}")


def _settings(options: TrainCore) -> Settings:
    from vortex.cli.composition import settings_for

    flags = {
        "train_core.size": options.size,
        "train_core.window_tokens": options.window,
        "train_core.batch_tokens": options.batch_tokens,
        "train_core.learning_rate": options.learning_rate,
        "vortex_tok.vocab_size": options.vocab_size,
        "runtime.device": options.device,
    }
    return settings_for(options.profile, options.set_, flags).settings


def _run(options: TrainCore, settings: Settings, device: Any) -> CoreRun:
    from vortex.learn.core_run import CoreRun
    from vortex.vblocks.checkpoint import read_core

    start = read_core(options.start_from) if options.start_from else None
    out = options.out or made_folder("core")
    chosen = _tokenizer(options, start, settings.vortex_tok, made_in=out / "training" / "tokenizer")
    return CoreRun(
        data=options.data,
        out=out,
        encoder=chosen.encoder,
        config=_config(options, settings, start, chosen.encoder.vocab_size),
        options=options_of(settings.train_core, options, on_gpu=device.type == "cuda"),
        bytes_of_id=chosen.bytes_of_id,
        tokenizer_folder=chosen.folder,
        tokenizer="" if chosen.folder else "bytes",
        arch=options.arch,
        limit_bytes=options.limit_mb << 20,
        device=device,
        notes={
            "data": ", ".join(path.name for path in options.data),
            "licence": options.licence,
            "seed": options.seed,
        },
        dtype=options.dtype,
        start_from=start,
        draw=True,
    )


def _config(options: TrainCore, settings: Settings, start: CoreCheckpoint | None, vocab_size: int) -> CoreConfig:
    """Of the named size, or as the trained core has it, with what the settings and `--core` change."""
    import dataclasses

    from vortex.learn.core_sizes import core_of_size

    changes = {**changes_of(settings), **fields_of(options.core or [])}
    if start is None:
        return core_of_size(settings.train_core.size, vocab_size, **changes)
    kept = {} if settings.core.mtp_k is not None else {"mtp_k": start.config.mtp_k}
    return dataclasses.replace(start.config, **{**changes, **kept})


def changes_of(settings: Settings) -> dict[str, Any]:
    """What the settings say about the core to train, beyond its size."""
    depth = settings.depth_gating
    changes = {
        "mtp_k": settings.core.mtp_k if settings.core.mtp_k is not None else settings.train_core.mtp_k,
        "depth_gating": settings.train_core.depth_gating,
        "depth_target": settings.train_core.depth_target,
        "gated_from": settings.train_core.gated_from,
        "gated_period": settings.train_core.gated_period,
        "depth_min": depth.min,
        "depth_max": depth.max,
        "depth_hysteresis": depth.hysteresis,
        "compile_step": settings.core.compile_step,
        "compile_local_mixer_step": settings.core.compile_local_mixer_step,
    }
    return {name: value for name, value in changes.items() if value is not None}


def options_of(wanted: TrainCoreSettings, options: TrainCore, *, on_gpu: bool) -> TrainingOptions:
    """The settings as one training's options; without an end, a thousand steps."""
    from vortex.training.loop import TrainingOptions
    from vortex.training.schedule import Schedule

    precision = wanted.precision if wanted.precision != "auto" else "bf16" if on_gpu else "float32"
    return TrainingOptions(
        steps=options.steps or (0 if options.minutes else 1000),
        minutes=options.minutes,
        window=wanted.window_tokens,
        batch=max(1, wanted.batch_tokens // wanted.window_tokens),
        learning_rate=wanted.learning_rate,
        weight_decay=wanted.weight_decay,
        schedule=Schedule(wanted.schedule),
        precision=precision,
        save_every=wanted.save_every,
        seed=options.seed,
    )


def _tokenizer(
    options: TrainCore, start: CoreCheckpoint | None, wanted: VortexTokSettings, *, made_in: Path
) -> ChosenTokenizer:
    from vortex.cli.terminal import notice
    from vortex.learn.tokenizers import BYTES, byte_tokenizer, made_of, vortex_tokenizer

    name = options.tokenizer
    if start and name == "auto":
        name = str(start.tokenizer_folder or BYTES)
    if name == BYTES:
        return byte_tokenizer()
    if name != "auto":
        return vortex_tokenizer(Path(name))
    return made_of(options.data, made_in, vocab_size=wanted.vocab_size, parse=wanted.parse, say=notice)


class Ticker:
    """A line that moves on a terminal; elsewhere a line now and then."""

    EVERY_S, EVERY_S_PLAIN = 0.2, 10.0

    def __init__(self) -> None:
        import sys

        self._stream, self._last = sys.stderr, 0.0
        self._moves = self._stream.isatty()

    def __call__(self, tick: Tick) -> None:
        import time

        now = time.monotonic()
        is_last = tick.share >= 1
        if now - self._last < (self.EVERY_S if self._moves else self.EVERY_S_PLAIN) and not is_last:
            return
        self._last = now
        progress = tick.progress
        held_out = f", held out {progress.held_out[-1][1]:.3f} bits per byte" if progress.held_out else ""
        left_s = progress.spent_s * (1 - tick.share) / tick.share if tick.share else 0
        line = (
            f"step {progress.step:,} ({100 * tick.share:.0f}%), loss {tick.loss:.3f}{held_out}, "
            f"{tick.tokens_per_second:,.0f} tokens/s, {left_s:.0f} s left"
        )
        self._stream.write(f"\r\x1b[K{line}" if self._moves else f"{line}\n")
        if self._moves and is_last:
            self._stream.write("\n")
        self._stream.flush()
