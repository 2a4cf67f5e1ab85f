"""`vortex bench c3`, `routes` and `paged-linear`: what paging costs, and how well caches guess."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vortex.cli.bench.presenting import JsonOutOption, PlotOption, present
from vortex.cli.options import BudgetOption, ModelOption, SetOption


def register(group: typer.Typer) -> None:
    group.command("c3")(c3)
    group.command("routes")(routes)
    group.command("paged-linear")(paged_linear)
    group.command("attach")(attach)
    group.command("device-tier")(device_tier)


def c3(
    *,
    model: ModelOption = None,
    limit: Annotated[list[str] | None, typer.Option("--limit", help="Memory of the whole process. Repeatable.")] = None,
    peer_python: Annotated[
        str | None, typer.Option("--peer-python", help="Interpreter with llama_cpp, to measure it in turns.")
    ] = None,
    runs: Annotated[int, typer.Option("--runs", min=1, help="Rounds; medians count.")] = 3,
    json_out: JsonOutOption = None,
    plot: PlotOption = None,
    set_: SetOption = None,
) -> None:
    """Seconds per sweep under memory limits, against what the disk and memory allow. Needs root (control groups).

    Example:

      vortex bench c3 --model big.gguf --limit 2.5GB --limit 3.6GB
    """
    import os

    from vortex.bench.measurement import run_measurement
    from vortex.bench.memory.paging import PagingMeasurement
    from vortex.c3.format.sizes import parse_bytes
    from vortex.cli.composition import resolve_model, settings_for
    from vortex.machine.cores import compute_threads

    loaded = settings_for(None, set_, {"model.name": model})
    resolved = resolve_model(loaded)
    measurement = PagingMeasurement(
        model_file=resolved.path,
        packed_root=resolved.made_folder,
        limits_bytes=[parse_bytes(text) for text in limit or ["2.5GB", "3.6GB"]],
        runs=runs,
        threads=compute_threads(loaded.settings.runtime.threads),
        peer_python=peer_python or os.environ.get("VORTEX_PEER_PYTHON"),
    )
    present(run_measurement(measurement), json_out, plot)


def routes(
    *,
    budget_mib: Annotated[list[int] | None, typer.Option("--mib", min=1, help="Cache size. Repeatable.")] = None,
    json_out: JsonOutOption = None,
    plot: PlotOption = None,
) -> None:
    """Hit rates of expert caches on routes of real runs, our policies beside LRU and the offline optimum."""
    from vortex.bench.measurement import run_measurement
    from vortex.bench.memory.routes import RoutesMeasurement

    present(run_measurement(RoutesMeasurement(budgets_mib=tuple(budget_mib or (3000,)))), json_out, plot)


def attach(
    *,
    folder: Annotated[
        Path | None, typer.Option("--folder", help="A safetensors folder; without one, a random 1 GB model.")
    ] = None,
    budget: BudgetOption = None,
    codec: Annotated[
        list[str] | None, typer.Option("--codec", help="raw, lossless, int8, int4 or mxfp4. Repeatable.")
    ] = None,
    shape: Annotated[str, typer.Option("--shape", help="Of the random model: 1b (0.9 GB) or 8b (3.6 GB).")] = "1b",
    rows: Annotated[int, typer.Option("--rows", min=1, help="Tokens in one forward.")] = 1,
    peer: Annotated[bool, typer.Option("--peer/--no-peer", help="Beside accelerate's disk offload.")] = True,
    airllm_python: Annotated[
        str | None, typer.Option("--airllm-python", help="Interpreter with airllm, to measure it in turns.")
    ] = None,
    runs: Annotated[int, typer.Option("--runs", min=1, help="Rounds; medians count.")] = 3,
    json_out: JsonOutOption = None,
    plot: PlotOption = None,
) -> None:
    """Seconds per token of a transformers model paged by vortex.c3.attach, beside accelerate and AirLLM. Needs root."""
    from vortex.bench.measurement import run_measurement
    from vortex.bench.memory.attach import SHAPES, AttachMeasurement
    from vortex.c3.torch.quantised_linear import format_for
    from vortex.errors import RequestError
    from vortex.machine.cores import compute_threads

    if shape not in SHAPES:
        raise RequestError(f"no shape '{shape}'; choose {' or '.join(SHAPES)}")
    codecs = tuple(dict.fromkeys(codec or ["raw"]))
    for name in codecs:
        format_for(name, 0)
    measurement = AttachMeasurement(
        budget_bytes=(budget or 500) * 10**6,
        folder=folder,
        codecs=codecs,
        shape=shape,
        rows=rows,
        runs=runs,
        threads=compute_threads(),
        with_peer=peer,
        airllm_python=airllm_python,
    )
    present(run_measurement(measurement), json_out, plot)


def paged_linear(
    *,
    dtype: Annotated[str, typer.Option("--dtype", help="bf16 or fp32.")] = "bf16",
    accum_fp32: Annotated[bool, typer.Option("--accum-fp32", help="Multiply and add in float32.")] = False,
    width: Annotated[int, typer.Option(min=256, help="Rows and columns of a linear.")] = 2048,
    linears: Annotated[int, typer.Option(min=6, help="How many of them.")] = 24,
    rows: Annotated[int, typer.Option(min=1, help="Tokens per sweep.")] = 1,
    json_out: JsonOutOption = None,
) -> None:
    """A stack of linears twice the size of its budget, streamed: raw against lossless tiles."""
    from vortex.bench.measurement import run_measurement
    from vortex.bench.memory.paged_linear import DTYPES, PagedLinearMeasurement, native_product
    from vortex.errors import RequestError

    if dtype not in DTYPES:
        raise RequestError(f"no dtype '{dtype}'; choose {' or '.join(DTYPES)}")
    product, prepare = native_product(dtype) if accum_fp32 else (None, None)
    if product is None:
        from vortex.models.decoder.torch_linear import dense_product

        product = dense_product(dtype, accum_fp32=accum_fp32)
    measurement = PagedLinearMeasurement(
        product=product, prepare=prepare, dtype=dtype, width=width, num_linears=linears, rows=rows
    )
    present(run_measurement(measurement), json_out, None)


def device_tier(
    *,
    device: Annotated[str, typer.Option("--device", help="As torch names it: cuda, cuda:1, cpu.")] = "cuda",
    layers: Annotated[int, typer.Option(min=3, help="Of an 8B-shaped model.")] = 6,
    width: Annotated[int, typer.Option(min=256, help="Of the model; a multiple of 512.")] = 4096,
    json_out: JsonOutOption = None,
) -> None:
    """A random model on a GPU: resident against paged from memory and from disk. The same bits first."""
    from vortex.bench.measurement import run_measurement
    from vortex.bench.memory.device_tier import DeviceTierMeasurement

    present(run_measurement(DeviceTierMeasurement(device=device, layers=layers, width=width)), json_out, None)
