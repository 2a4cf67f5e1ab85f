"""`vortex train-core`: see learn/core_run.py."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vortex.cli.improve.core_fields import CoreFieldOption, fields_of
from vortex.cli.options import ProfileOption, SetOption

if TYPE_CHECKING:
    from vortex.config.schema import Settings, TrainCoreSettings
    from vortex.learn.tokenizers import ChosenTokenizer
    from vortex.training.loop import Tick, TrainingOptions

PANEL = "Improve"
DEFAULT_OUT = Path("data/core")


def register(app: typer.Typer) -> None:
    app.command("train-core", rich_help_panel=PANEL)(train_core)


def train_core(
    *,
    data: Annotated[list[Path], typer.Option("--data", help="A text file, .jsonl or a folder of them. Repeatable.")],
    out: Annotated[
        Path, typer.Option("--out", help="Folder of the result; the same command goes on there.")
    ] = DEFAULT_OUT,
    steps: Annotated[int, typer.Option("--steps", min=0, help="Updates in all.")] = 0,
    minutes: Annotated[float, typer.Option("--minutes", min=0, help="Or: minutes of training in all.")] = 0.0,
    size: Annotated[str | None, typer.Option("--size", help="tiny, small, deep, shipped, medium or large.")] = None,
    core: CoreFieldOption = None,
    start_from: Annotated[
        Path | None, typer.Option("--start-from", help="Trained core to begin with, and its tokenizer; no --size.")
    ] = None,
    tokenizer: Annotated[
        str, typer.Option("--tokenizer", help="auto: made of the data; bytes; or a folder of Vortex-Tok.")
    ] = "auto",
    vocab_size: Annotated[int | None, typer.Option("--vocab-size", help="Of a tokenizer made of the data.")] = None,
    window: Annotated[int | None, typer.Option("--window", min=4, help="Tokens of one row.")] = None,
    batch_tokens: Annotated[int | None, typer.Option("--batch-tokens", min=4, help="Tokens of one step.")] = None,
    learning_rate: Annotated[float | None, typer.Option("--learning-rate", min=0, help="Its peak.")] = None,
    arch: Annotated[str, typer.Option("--arch", help="core, or transformer: the baseline of equal size.")] = "core",
    device: Annotated[str | None, typer.Option("--device", help="auto, cpu or cuda.")] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the weights and of the order of the data.")] = 0,
    licence: Annotated[str, typer.Option("--licence", help="Of the data, written beside the result.")] = "",
    dtype: Annotated[str, typer.Option("--dtype", help="Of the saved weights: float32, float16 or int8.")] = "float32",
    limit_mb: Annotated[int, typer.Option("--limit-mb", min=1, help="Most text to read.")] = 1024,
    profile: ProfileOption = None,
    set_: SetOption = None,
) -> None:
    """Train a V-Blocks core on text, from nothing or from a trained one. Goes on where it was stopped."""
    import dataclasses

    from vortex.cli.composition import settings_for
    from vortex.cli.terminal import notice
    from vortex.errors import RequestError
    from vortex.machine.torch_device import choose_device
    from vortex.vblocks.checkpoint import check_dtype, read_core

    check_dtype(dtype)
    if start_from and (size or arch != "core"):
        raise RequestError("--start-from has its size from the core it names: leave --size and --arch out")
    if arch not in {"core", "transformer"}:
        raise RequestError(f"--arch is core or transformer, not {arch!r}")
    flags = {
        "train_core.size": size,
        "train_core.window_tokens": window,
        "train_core.batch_tokens": batch_tokens,
        "train_core.learning_rate": learning_rate,
        "vortex_tok.vocab_size": vocab_size,
        "runtime.device": device,
    }
    settings = settings_for(profile, set_, flags).settings
    wanted = settings.train_core
    where = choose_device(settings.runtime.device, settings.runtime.threads)
    from vortex.learn.core_run import CoreRun
    from vortex.learn.core_run import train_core as run_training
    from vortex.learn.core_sizes import core_of_size

    start = read_core(start_from) if start_from else None
    if start and tokenizer == "auto":
        tokenizer = str(start.tokenizer_folder or "bytes")
    chosen = _tokenizer(tokenizer, data, out, settings.vortex_tok.vocab_size, settings.vortex_tok.parse)
    changes = {**changes_of(settings), **fields_of(core or [])}
    if start:
        kept = {} if settings.core.mtp_k is not None else {"mtp_k": start.config.mtp_k}
        config = dataclasses.replace(start.config, **{**changes, **kept})
    else:
        config = core_of_size(wanted.size, chosen.encoder.vocab_size, **changes)
    run = CoreRun(
        data=data,
        out=out,
        encoder=chosen.encoder,
        config=config,
        options=options_of(wanted, steps=steps, minutes=minutes, seed=seed, on_gpu=where.type == "cuda"),
        bytes_of_id=chosen.bytes_of_id,
        tokenizer_folder=chosen.folder,
        tokenizer="" if chosen.folder else "bytes",
        arch=arch,
        limit_bytes=limit_mb << 20,
        device=where,
        notes={"data": ", ".join(path.name for path in data), "licence": licence, "seed": seed},
        dtype=dtype,
        start_from=start,
        draw=True,
    )
    try:
        progress = run_training(run, say=notice, on_tick=Ticker())
    except KeyboardInterrupt:
        notice("")
        notice(f"stopped; the same command goes on from the last state in {out / 'training'}")
        raise typer.Exit(130) from None
    bits = f", {progress.held_out[-1][1]:.4f} bits per byte held out" if progress.held_out else ""
    typer.echo(f"{out}: {progress.step:,} steps, {progress.tokens:,} tokens in {progress.spent_s:.0f} s{bits}")


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


def options_of(wanted: TrainCoreSettings, *, steps: int, minutes: float, seed: int, on_gpu: bool) -> TrainingOptions:
    """The settings as one training's options; without an end, a thousand steps."""
    from vortex.training.loop import TrainingOptions
    from vortex.training.schedule import Schedule

    precision = wanted.precision if wanted.precision != "auto" else "bf16" if on_gpu else "float32"
    return TrainingOptions(
        steps=steps or (0 if minutes else 1000),
        minutes=minutes,
        window=wanted.window_tokens,
        batch=max(1, wanted.batch_tokens // wanted.window_tokens),
        learning_rate=wanted.learning_rate,
        weight_decay=wanted.weight_decay,
        schedule=Schedule(wanted.schedule),
        precision=precision,
        save_every=wanted.save_every,
        seed=seed,
    )


def _tokenizer(name: str, data: list[Path], out: Path, vocab_size: int, parse: str) -> ChosenTokenizer:
    from vortex.cli.terminal import notice
    from vortex.learn.tokenizers import BYTES, byte_tokenizer, made_of, vortex_tokenizer

    if name == BYTES:
        return byte_tokenizer()
    if name != "auto":
        return vortex_tokenizer(Path(name))
    return made_of(data, out / "training" / "tokenizer", vocab_size=vocab_size, parse=parse, say=notice)


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
