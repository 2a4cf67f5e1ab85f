"""`vortex bench`: measurements, each with a table, one line of JSON last, and on request a file and a picture."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vortex.cli.bench import adapters as bench_adapters
from vortex.cli.bench import core as bench_core
from vortex.cli.bench import core_quality as bench_core_quality
from vortex.cli.bench import first_answers as bench_first_answers
from vortex.cli.bench import gateway as bench_gateway
from vortex.cli.bench import generate as bench_generate
from vortex.cli.bench import holding as bench_holding
from vortex.cli.bench import hostile as bench_hostile
from vortex.cli.bench import kernels as bench_kernels
from vortex.cli.bench import knowledge as bench_knowledge
from vortex.cli.bench import learn as bench_learn
from vortex.cli.bench import paging as bench_paging
from vortex.cli.bench import repair as bench_repair
from vortex.cli.bench import replicas as bench_replicas
from vortex.cli.bench import sandbox as bench_sandbox
from vortex.cli.bench import serve as bench_serve
from vortex.cli.bench import structured as bench_structured
from vortex.cli.bench import tokenizer as bench_tokenizer
from vortex.cli.bench import tokenizer_quality as bench_quality
from vortex.cli.bench import wires as bench_wires
from vortex.cli.bench.presenting import JsonOutOption, PeerPythonOption, PlotOption, RunsOption, present
from vortex.cli.command_options import with_options
from vortex.cli.options import BackendOption, BudgetOption, ModelOption, ProfileOption, SetOption

if TYPE_CHECKING:
    from vortex.bench.fidelity import Reference
    from vortex.bench.peer import Peer
    from vortex.models.opened import Opened
    from vortex.protocols import LanguageModel

PROMPT = "The history of the printing press begins "


def register(app: typer.Typer) -> None:
    group = typer.Typer(help="Measure this machine and this program.", invoke_without_command=True)
    group.callback()(generate)
    group.command("decode")(decode)
    group.command("start")(start)
    group.command("fidelity")(fidelity)
    group.command("reference", hidden=True)(write_reference)
    group.command("serve")(bench_serve.serve)
    group.command("serve-side", hidden=True)(bench_serve.serve_side)
    group.command("hostile")(bench_hostile.hostile)
    group.command("structured")(bench_structured.structured)
    group.command("wires")(bench_wires.wires)
    bench_generate.register(group)
    bench_paging.register(group)
    bench_core.register(group)
    bench_knowledge.register(group)
    bench_sandbox.register(group)
    bench_holding.register(group)
    group.command("tokenizer")(bench_tokenizer.tokenizer)
    group.command("tokenizer-quality")(bench_quality.tokenizer_quality)
    group.command("gateway")(bench_gateway.gateway)
    group.command("replicas")(bench_replicas.replicas)
    group.command("adapters")(bench_adapters.adapters)
    group.command("repair")(bench_repair.repair)
    group.command("agent-demo")(bench_repair.agent_demo)
    group.command("kernels")(bench_kernels.kernels)
    group.command("learn")(with_options(bench_learn.learn))
    group.command("first-answers")(bench_first_answers.first_answers)
    group.command("core-quality")(with_options(bench_core_quality.core_quality))
    app.add_typer(group, name="bench", rich_help_panel="Look around")


def generate(
    context: typer.Context,
    *,
    profile: ProfileOption = None,
    model: ModelOption = None,
    backend: BackendOption = None,
    budget: BudgetOption = None,
    max_new: Annotated[int, typer.Option("--max-new", "--max-new-tokens", min=2, help="Tokens to generate.")] = 64,
    runs: RunsOption = 3,
    json_out: JsonOutOption = None,
    plot: PlotOption = None,
    set_: SetOption = None,
) -> None:
    """Measure this machine and this program.

    Without a sub-command: prefill and decode of the profile's model, as a user meets them.
    """
    if context.invoked_subcommand is not None:
        return
    import asyncio

    from vortex.bench.generate import GenerateMeasurement
    from vortex.bench.measurement import run_measurement
    from vortex.cli.composition import open_backend, settings_for

    loaded = settings_for(profile, set_, _chosen(model, backend, budget))
    answering = open_backend(loaded)
    with asyncio.Runner() as runner:
        try:
            cards = runner.run(answering.models())
            measurement = GenerateMeasurement(answering, runner, cards[0].name, max_new, runs)
            present(run_measurement(measurement), json_out, plot)
        finally:
            runner.run(answering.close())


def decode(
    *,
    profile: ProfileOption = None,
    model: ModelOption = None,
    backend: BackendOption = None,
    budget: BudgetOption = None,
    peer: Annotated[str | None, typer.Option(help="Measure beside this program: llama.cpp.")] = None,
    peer_python: PeerPythonOption = None,
    prompt_tokens: Annotated[int, typer.Option(min=1, help="Tokens of the prompt.")] = 512,
    new_tokens: Annotated[int, typer.Option(min=1, help="Tokens swept one at a time.")] = 128,
    streams: Annotated[int, typer.Option(min=1, help="Also sweep this many sequences together.")] = 1,
    runs: RunsOption = 5,
    json_out: JsonOutOption = None,
    plot: PlotOption = None,
    set_: SetOption = None,
) -> None:
    """Tokens per second of the bare model, without sampling; beside a peer in turns if one is named."""
    from vortex.bench.decode import DecodeMeasurement
    from vortex.bench.measurement import run_measurement
    from vortex.cli.composition import open_model, settings_for
    from vortex.machine.cores import compute_threads

    loaded = settings_for(profile, set_, _chosen(model, backend, budget))
    opened = open_model(loaded)
    text = PROMPT * (prompt_tokens // 4 + 1)
    with _peer(peer, peer_python) as other:
        measurement = DecodeMeasurement(
            model=opened.model,
            model_name=opened.name,
            prompt=opened.tokenizer.encode(text, add_bos=True)[:prompt_tokens],
            new_tokens=new_tokens,
            runs=runs,
            streams=streams,
            peer=other,
            model_file=opened.path,
            threads=compute_threads(loaded.settings.runtime.threads),
        )
        present(run_measurement(measurement), json_out, plot)


def start(
    *,
    model: ModelOption = None,
    runs: RunsOption = 3,
    json_out: JsonOutOption = None,
    plot: PlotOption = None,
) -> None:
    """A new process from its start to its first word, and the memory it takes; the model is here already."""
    from vortex.bench.measurement import run_measurement
    from vortex.bench.start import StartMeasurement

    options = ["--model", model] if model else []
    present(run_measurement(StartMeasurement(options, runs)), json_out, plot)


def fidelity(
    *,
    profile: ProfileOption = None,
    model: ModelOption = None,
    tokens: Annotated[int, typer.Option(min=16, help="Tokens to predict, at least.")] = 2048,
    window: Annotated[int, typer.Option(min=16, max=1024, help="Tokens of one window.")] = 512,
    reference: Annotated[
        str, typer.Option("--reference", help="transformers (fp32, from the same file) or llama.cpp.")
    ] = "transformers",
    peer: Annotated[str | None, typer.Option("--peer", help="Score this program too: llama.cpp.")] = None,
    peer_python: PeerPythonOption = None,
    json_out: JsonOutOption = None,
    plot: PlotOption = None,
    set_: SetOption = None,
) -> None:
    """Distance of the model from a reference on real text: divergence, same top token, perplexity."""
    from vortex.bench.fidelity import FidelityMeasurement, text_windows
    from vortex.bench.measurement import run_measurement
    from vortex.cli.composition import open_model, settings_for
    from vortex.machine.cores import compute_threads

    loaded = settings_for(profile, set_, {"model.name": model})
    opened = open_model(loaded)
    path, threads = _weights(opened), compute_threads(loaded.settings.runtime.threads)
    windows = text_windows(opened.tokenizer, tokens, window)
    with _peer(peer, peer_python) as other, _reference(reference, peer_python, path, threads) as truth:
        measurement = FidelityMeasurement(
            model_name=opened.name,
            model=opened.model,
            windows=windows,
            reference=truth.logits,
            reference_name=truth.name,
            peer=other,
            model_file=path,
            threads=threads,
        )
        present(run_measurement(measurement), json_out, plot)


@contextlib.contextmanager
def _reference(name: str, python: str | None, path: Path, threads: int) -> Iterator[Reference]:
    """What a model is measured against."""
    if name == "transformers":
        from vortex.bench.transformers_reference import TransformersReference

        yield TransformersReference(path)
        return
    from vortex.bench.fidelity import PeerReference
    from vortex.bench.peer import PEERS
    from vortex.errors import RequestError

    if name not in PEERS:
        raise RequestError(f"no reference '{name}'. References: transformers, {', '.join(PEERS)}")
    with _peer(name, python) as peer:
        assert peer is not None, "a named peer was opened"
        yield PeerReference(peer, path, threads)


def write_reference(
    out: Annotated[Path, typer.Argument(help="File to write.")],
    *,
    model: ModelOption = None,
) -> None:
    """Write the stored reference that `doctor --deep` compares with (transformers, fp32)."""
    from vortex.bench.stored_reference import PROMPT as REFERENCE_PROMPT
    from vortex.bench.stored_reference import PROMPT_TOKENS, make_reference
    from vortex.bench.transformers_reference import TransformersReference
    from vortex.cli.composition import open_model, settings_for

    opened = open_model(settings_for(flags={"model.name": model}))
    ids = opened.tokenizer.encode(REFERENCE_PROMPT, add_bos=True)[:PROMPT_TOKENS]
    make_reference(ids, TransformersReference(_weights(opened)).logits).save(out)
    typer.echo(f"{out}: {out.stat().st_size} bytes")


def _weights(opened: Opened[LanguageModel]) -> Path:
    from vortex.errors import RequestError

    if opened.path is None:
        raise RequestError(f"{opened.name} has no weights to compare; name a model with --model")
    return opened.path


def _peer(name: str | None, python: str | None) -> Peer | contextlib.nullcontext[None]:
    from vortex.bench.peer import PEERS, Peer, peer_python
    from vortex.config.entries import nearest
    from vortex.errors import RequestError

    if name is None:
        return contextlib.nullcontext()
    if name not in PEERS:
        raise RequestError(f"no peer '{name}'{nearest(name, PEERS)}. Peers: {', '.join(PEERS)}")
    return Peer(name, peer_python(python))


def _chosen(model: str | None, backend: str | None, budget: int | None) -> dict[str, object]:
    return {"model.name": model, "model.backend": backend, "runtime.cache_vram_budget_mb": budget}
