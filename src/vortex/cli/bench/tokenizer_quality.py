"""`vortex bench tokenizer-quality`: see bench/tokenizer/quality.py."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vortex.cli.bench.presenting import JsonOutOption, PlotOption, present
from vortex.cli.made import made_folder


def tokenizer_quality(
    *,
    folder: Annotated[
        Path | None,
        typer.Option(
            "--folder",
            help="Tokenizers, documents and results, data/bench/tokenizer-quality; an interrupted run goes on there.",
        ),
    ] = None,
    corpus: Annotated[
        Path | None, typer.Option("--corpus", exists=True, file_okay=False, help="Folder of text; else this machine's.")
    ] = None,
    corpus_mb: Annotated[int, typer.Option("--corpus-mb", min=1, help="Text to learn from.")] = 10,
    vocab_size: Annotated[int, typer.Option("--vocab-size", min=400, help="Ids of each tokenizer.")] = 8192,
    minutes: Annotated[float, typer.Option("--minutes", min=0.1, help="For all small models together.")] = 8.0,
    steps: Annotated[
        int | None, typer.Option("--steps", min=1, help="Of each small model, instead of minutes.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Of first weights and of the order of the text.")] = 0,
    device: Annotated[str, typer.Option("--device", help="cpu or cuda, each with a model of its own size.")] = "cpu",
    prepare_only: Annotated[bool, typer.Option("--prepare-only", help="Train the tokenizers, no models.")] = False,
    json_out: JsonOutOption = None,
    plot: PlotOption = None,
) -> None:
    """Bits per byte of one small model on each tokenizer and each parse, at equal compute."""
    from dataclasses import replace

    from vortex.bench.measurement import run_measurement
    from vortex.bench.tokenizer.corpora import from_folder, gather
    from vortex.bench.tokenizer.variants import DOCUMENTS_FILE, load_documents, prepare
    from vortex.cli.terminal import notice
    from vortex.errors import RequestError

    folder = folder or made_folder("bench", "tokenizer-quality")
    if (folder / DOCUMENTS_FILE).exists():
        documents = load_documents(folder)
    else:
        num_bytes = corpus_mb * 1_000_000
        documents = from_folder(corpus, num_bytes) if corpus else gather(num_bytes)
    prepare(folder, documents, vocab_size, notice)
    if prepare_only:
        return
    from vortex.bench.tokenizer.quality import QualityMeasurement
    from vortex.bench.tokenizer.small_transformer import SHAPES

    if device not in SHAPES:
        raise RequestError(f"--device {device}: there are {' and '.join(SHAPES)}")
    shape = replace(SHAPES[device], seed=seed)
    measurement = QualityMeasurement(folder, shape, steps=steps, minutes=minutes, say=notice)
    present(run_measurement(measurement), json_out, plot)
