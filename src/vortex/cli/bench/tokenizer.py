"""`vortex bench tokenizer`: see bench/tokenizer/comparison.py."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vortex.cli.bench.presenting import JsonOutOption, PlotOption, present
from vortex.cli.options import ProfileOption, SetOption


def tokenizer(
    *,
    profile: ProfileOption = None,
    corpus: Annotated[
        Path | None, typer.Option("--corpus", exists=True, file_okay=False, help="Folder of text; else this machine's.")
    ] = None,
    corpus_mb: Annotated[int, typer.Option("--corpus-mb", min=1, help="Text to learn from.")] = 10,
    vocab_size: Annotated[
        list[int] | None, typer.Option("--vocab-size", min=400, help="Repeatable. Without it, 8192 and 32768.")
    ] = None,
    quality_minutes: Annotated[
        float, typer.Option("--quality-minutes", min=0, help="For all small models together; 0: none.")
    ] = 5.0,
    json_out: JsonOutOption = None,
    plot: PlotOption = None,
    set_: SetOption = None,
) -> None:
    """Vortex-Tok beside BPE, tiktoken and SuperBPE trained on the same documents: tokens, speed, bits per byte."""
    from vortex.bench.measurement import run_measurement
    from vortex.bench.tokenizer.comparison import TokenizerMeasurement
    from vortex.bench.tokenizer.corpora import from_folder, gather
    from vortex.cli.composition import settings_for
    from vortex.cli.terminal import notice

    wanted = settings_for(profile, set_).settings.vortex_tok
    num_bytes = corpus_mb * 1_000_000
    measurement = TokenizerMeasurement(
        from_folder(corpus, num_bytes) if corpus else gather(num_bytes),
        vocab_size or [8192, 32768],
        parse=wanted.parse,
        quality_minutes=quality_minutes,
        say=notice,
    )
    present(run_measurement(measurement), json_out, plot)
