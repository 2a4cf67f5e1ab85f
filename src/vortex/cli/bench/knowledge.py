"""`vortex bench knowledge …`: what is found, how fast among many, and what answers make of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vortex.cli.bench.presenting import JsonOutOption, PeerPythonOption, keep_parts, present
from vortex.cli.options import ModelOption, ProfileOption, SetOption

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from vortex.bench.measurement import Measurement
    from vortex.config.loading import LoadedSettings
    from vortex.knowledge.embedding import Embedder
    from vortex.protocols import ChatBackend


def register(bench: typer.Typer) -> None:
    group = typer.Typer(help="Knowledge: what is found, how fast, and what answers make of it.", no_args_is_help=True)
    group.command("retrieval")(retrieval)
    group.command("scale")(scale)
    group.command("answers")(answers)
    group.command("prefix")(prefix)
    bench.add_typer(group, name="knowledge")


FolderOption = Annotated[
    Path | None, typer.Option("--folder", help="Where the set is kept between runs; data/bench/knowledge without.")
]


def retrieval(
    *,
    rerank: Annotated[int, typer.Option(min=0, help="Questions that the model reranks too; 0: none.")] = 0,
    spanish: Annotated[bool, typer.Option("--spanish", help="A small set in Spanish instead.")] = False,
    model: ModelOption = None,
    folder: FolderOption = None,
    profile: ProfileOption = None,
    json_out: JsonOutOption = None,
    set_: SetOption = None,
) -> None:
    """Questions from the documentation of three packages: words, meaning, both fused, and reranked by a model.

    The first run embeds some 2,600 passages, which takes minutes.
    """
    from vortex.bench.knowledge.retrieval import RetrievalMeasurement
    from vortex.bench.measurement import run_measurement
    from vortex.cli.composition import open_model, settings_for
    from vortex.knowledge.search.rerank import LikelihoodReranker

    loaded = settings_for(profile, set_, {"model.name": model})
    measurement = RetrievalMeasurement(_folder(folder), _embedder(profile, set_), rerank_questions=rerank)
    measurement.spanish = spanish
    if not rerank:
        present(run_measurement(measurement), json_out, None)
        return
    opened = open_model(loaded)
    try:
        measurement.reranker = LikelihoodReranker(opened.model, opened.tokenizer)
        present(run_measurement(measurement), json_out, None)
    finally:
        opened.model.close()


def scale(
    *,
    passages: Annotated[int, typer.Option(min=1000, help="Passages in the store.")] = 100_000,
    searches: Annotated[int, typer.Option(min=20, help="Questions that are timed.")] = 200,
    peer_python: PeerPythonOption = None,
    folder: FolderOption = None,
    profile: ProfileOption = None,
    json_out: JsonOutOption = None,
    set_: SetOption = None,
) -> None:
    """A search among many passages: time and size; the nearest vectors beside sqlite-vec and FAISS where installed.

    LanceDB is asked too where --peer-python, or VORTEX_PEER_PYTHON, names the interpreter that has it.
    """
    import os

    from vortex.bench.knowledge.scale import ScaleMeasurement
    from vortex.bench.measurement import run_measurement

    measurement = ScaleMeasurement(_folder(folder), _embedder(profile, set_), passages, searches)
    measurement.lancedb_python = peer_python or os.environ.get("VORTEX_PEER_PYTHON")
    present(run_measurement(measurement), json_out, None)


def answers(
    *,
    questions: Annotated[int, typer.Option(min=1, help="Most questions.")] = 100,
    seconds: Annotated[float, typer.Option(min=10, help="No further question after so long.")] = 330.0,
    model: ModelOption = None,
    folder: FolderOption = None,
    profile: ProfileOption = None,
    json_out: JsonOutOption = None,
    set_: SetOption = None,
) -> None:
    """Questions with checkable answers, asked without documents, with what is found, and with wrong documents.

    With --json-out what is known so far is written after every few questions.
    """
    from vortex.bench.knowledge.answers import AnswersMeasurement
    from vortex.cli.composition import settings_for

    embedder = _embedder(profile, set_)

    def measurement(backend: ChatBackend, runner: asyncio.Runner) -> Measurement:
        return AnswersMeasurement(_folder(folder), embedder, backend, runner, questions, seconds, keep_parts(json_out))

    _measure_answering(settings_for(profile, set_, {"model.name": model}), measurement, json_out)


def prefix(
    *,
    documents: Annotated[int, typer.Option(min=1, help="Documents asked about.")] = 4,
    model: ModelOption = None,
    folder: FolderOption = None,
    profile: ProfileOption = None,
    json_out: JsonOutOption = None,
    set_: SetOption = None,
) -> None:
    """The second question about one document: how much of the prompt the prefix cache spares."""
    from vortex.bench.knowledge.prefix import PrefixMeasurement
    from vortex.cli.composition import settings_for

    embedder = _embedder(profile, set_)

    def measurement(backend: ChatBackend, runner: asyncio.Runner) -> Measurement:
        return PrefixMeasurement(_folder(folder), embedder, backend, runner, documents)

    _measure_answering(settings_for(profile, set_, {"model.name": model}), measurement, json_out)


def _measure_answering(
    loaded: LoadedSettings, measurement: Callable[[ChatBackend, asyncio.Runner], Measurement], json_out: Path | None
) -> None:
    """Run what needs a model that answers; the model is closed however it ends."""
    import asyncio

    from vortex.bench.measurement import run_measurement
    from vortex.cli.composition import open_backend

    backend = open_backend(loaded)
    with asyncio.Runner() as runner:
        try:
            present(run_measurement(measurement(backend, runner)), json_out, None)
        finally:
            runner.run(backend.close())


def _folder(given: Path | None) -> Path:
    from vortex.config.data_folder import data_path

    return given or data_path("bench", "knowledge")


def _embedder(profile: str | None, set_: list[str] | None) -> Embedder:
    from vortex.cli.composition import settings_for
    from vortex.cli.knowing import open_embedder
    from vortex.errors import MissingCapability

    embedder = open_embedder(settings_for(profile, set_).settings, fetch=True)
    if embedder is None:
        raise MissingCapability("this measures an embedder too, and there is none: vortex pull all-minilm-l6-v2")
    return embedder
