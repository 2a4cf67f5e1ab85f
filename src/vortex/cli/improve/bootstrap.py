"""`vortex bootstrap`: see learn/bootstrap.py."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vortex.cli.command_options import with_options
from vortex.cli.made import made_folder
from vortex.cli.options import ProfileOption, SetOption

if TYPE_CHECKING:
    from vortex.learn.bootstrap import Bootstrap, Made
    from vortex.learn.teacher import Teacher

PANEL = "Improve"
DEFAULT_TEACHER = "smollm2-135m"


def register(app: typer.Typer) -> None:
    app.command("bootstrap", rich_help_panel=PANEL)(with_options(bootstrap))


@dataclass(frozen=True, slots=True, kw_only=True)
class BootstrapCommand:
    teacher: Annotated[str | None, typer.Option("--teacher", help="Model to learn from; SmolLM2-135M.")] = None
    teacher_quant: Annotated[str | None, typer.Option("--teacher-quant", help="4bit: hold the teacher in 4 bit.")] = (
        None
    )
    checkpoint: Annotated[
        Path | None, typer.Option("--checkpoint", help="Core to go on with and to update: a folder or .safetensors.")
    ] = None
    max_prompts: Annotated[int, typer.Option("--max-prompts", min=0, help="Questions the teacher answers.")] = 64
    steps: Annotated[int, typer.Option("--steps", min=0, help="Updates in all; 0: the copy alone.")] = 200
    minutes: Annotated[float, typer.Option("--minutes", min=0, help="Or: minutes, all stages together.")] = 0.0
    batch_tokens: Annotated[int, typer.Option("--batch-tokens", min=32, help="Tokens of one step.")] = 2048
    window: Annotated[int, typer.Option("--window", min=16, help="Tokens of one row in the first two stages.")] = 256
    local_window: Annotated[
        int, typer.Option("--local-window", min=0, help="Tokens for which the attention itself is kept; 0: none.")
    ] = 128
    reuse_dataset: Annotated[
        bool, typer.Option("--reuse-dataset", help="Take the answers that are there from an earlier run.")
    ] = False
    data: Annotated[list[Path] | None, typer.Option("--data", help="Text to learn from as well. Repeatable.")] = None
    out: Annotated[Path | None, typer.Option("--out", help="Folder of the result; data/bootstrap.")] = None
    dtype: Annotated[str, typer.Option("--dtype", help="Of the saved weights: float32, float16 or int8.")] = "float16"
    device: Annotated[str | None, typer.Option("--device", help="auto, cpu or cuda.")] = None
    seed: Annotated[int, typer.Option("--seed", min=0)] = 0
    profile: ProfileOption = None
    set_: SetOption = None


def bootstrap(options: BootstrapCommand) -> None:
    """Make a core of a Transformer: its MLPs, norms and a window of its attention are kept, what is before is learnt.

    Aligns hidden states layer by layer, then matches the distribution, then does so on longer text.
    """
    import json

    from vortex.cli.composition import settings_for
    from vortex.cli.terminal import notice
    from vortex.machine.torch_device import choose_device
    from vortex.vblocks.checkpoint import check_dtype

    check_dtype(options.dtype)
    runtime = settings_for(options.profile, options.set_, {"runtime.device": options.device}).settings.runtime
    where = choose_device(runtime.device, runtime.threads)
    from vortex.learn.bootstrap import bootstrap as run_bootstrap
    from vortex.training.curve import draw_distillation

    run = _run(options)
    if options.checkpoint is not None and run.start_from is None:
        notice(f"no core at {options.checkpoint} yet: one is made of the teacher's weights")
    teacher = _teacher(options.teacher or DEFAULT_TEACHER, options.teacher_quant, where, offline=runtime.offline)
    made = run_bootstrap(run, teacher, say=notice, on_step=StageTicker())
    if made.curve.losses:
        draw_distillation(run.out / "bootstrap.png", made.curve.losses, made.curve.held_out)
    typer.echo(f"{run.out}: {made.figures['tokens']:,} tokens; {_kept(made, teacher.name)}")
    typer.echo(json.dumps({"bootstrap": str(run.out), "teacher": teacher.name, **made.figures}))


def _run(options: BootstrapCommand) -> Bootstrap:
    from vortex.learn.bootstrap import Bootstrap
    from vortex.vblocks.checkpoint import is_core, read_core

    checkpoint = options.checkpoint
    target = options.out or (checkpoint_folder(checkpoint) if checkpoint else made_folder("bootstrap"))
    return Bootstrap(
        out=target,
        steps=options.steps,
        minutes=options.minutes,
        batch_tokens=options.batch_tokens,
        window=options.window,
        local_window=options.local_window,
        max_prompts=options.max_prompts,
        data=options.data or [],
        reuse=options.reuse_dataset,
        start_from=read_core(checkpoint) if checkpoint and (checkpoint.exists() or is_core(target)) else None,
        dtype=options.dtype,
        seed=options.seed,
    )


def _kept(made: Made, teacher: str) -> str:
    """What the student keeps of its teacher."""
    figures = made.figures
    cloze = f"cloze {figures['student_cloze']:.1%} (teacher {figures['teacher_cloze']:.1%})"
    if not made.curve.held_out:
        return cloze
    return (
        f"KL to {teacher} on held-out text {figures['first_kl_nats']:.3f} -> {figures['last_kl_nats']:.3f} nats; "
        f"perplexity {figures['perplexity']:.2f} (teacher {figures['teacher_perplexity']:.2f}); {cloze}"
    )


def checkpoint_folder(checkpoint: Path) -> Path:
    """The folder that a checkpoint's name means: itself, its parent for model.safetensors, else its stem."""
    if checkpoint.name == "model.safetensors":
        return checkpoint.parent
    return checkpoint.with_suffix("") if checkpoint.suffix in {".pt", ".safetensors"} else checkpoint


def _teacher(name: str, quant: str | None, device: object, *, offline: bool) -> Teacher:
    from vortex.cli.download import download_progress
    from vortex.cli.terminal import notice, working
    from vortex.errors import RequestError
    from vortex.hub.names import resolve
    from vortex.learn.teacher import check_quant, open_teacher

    if quant not in {None, "4bit"}:
        raise RequestError(f"--teacher-quant is 4bit or left out, not {quant!r}")
    check_quant(name, quant, device)
    with download_progress() as sink:
        resolved = resolve(name, progress=sink, allow_download=not offline)
    if quant and resolved.path.is_file():
        notice(f"{resolved.name} is quantised in its file already; its weights are unpacked from there")
    with working(f"loading {resolved.name}"):
        return open_teacher(resolved.name, resolved.path, device=device, quant=quant)


class StageTicker:
    """A line per stage that moves on a terminal; elsewhere a line now and then. Says how long the stage still takes."""

    def __init__(self) -> None:
        import sys

        self._stream, self._last = sys.stderr, 0.0
        self._moves = self._stream.isatty()
        self._stage, self._began_s, self._first = "", 0.0, 0

    def __call__(self, stage: str, step: int, steps: int, loss: float | None) -> None:
        import time

        now = time.monotonic()
        is_new = stage != self._stage
        if is_new:
            self._stage, self._began_s, self._first = stage, now, step
        if not is_new and now - self._last < (0.2 if self._moves else 10.0) and step != steps:
            return
        self._last = now
        line = f"{stage}: {step} of {steps}" + (f", loss {loss:.4f}" if loss is not None else "")
        if step > self._first and step != steps:
            left_s = (now - self._began_s) / (step - self._first) * (steps - step)
            line += f", about {left_s:.0f} s left" if left_s < 120 else f", about {left_s / 60:.0f} min left"
        self._stream.write(f"\r\x1b[K{line}" if self._moves else f"{line}\n")
        if self._moves and step == steps:
            self._stream.write("\n")
        self._stream.flush()
