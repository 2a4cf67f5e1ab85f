"""`vortex c3`: pack a model into tiles, look into a folder, check every byte, plan a model on paper."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vortex.cli.options import JsonOption, ModelOption, ProfileOption, SetOption

if TYPE_CHECKING:
    from vortex.c3.format.folder import C3Folder
    from vortex.c3.plan import HitRate

FolderArgument = Annotated[Path, typer.Argument(help="A .c3 folder. `vortex c3 pack` prints where it is.")]


def register(app: typer.Typer) -> None:
    group = typer.Typer(help="Models larger than memory: packed, paged weights.", no_args_is_help=True)
    group.command("pack")(pack)
    group.command("inspect")(inspect)
    group.command("verify")(verify)
    group.command("plan")(plan)
    app.add_typer(group, name="c3", rich_help_panel="Models")


def pack(
    *,
    profile: ProfileOption = None,
    model: ModelOption = None,
    out: Annotated[Path | None, typer.Option("--out", help="Write here; else where chat finds it.")] = None,
    compress: Annotated[
        bool,
        typer.Option("--compress/--raw", help="Lossless codecs where a tile shrinks by 5% or more."),
    ] = False,
    as_json: JsonOption = False,
    set_: SetOption = None,
) -> None:
    """Pack a model's weights into tiles now, rather than when it is first used.

    Examples:

      vortex c3 pack --model big.gguf

      vortex c3 pack --model Qwen/Qwen3-8B --set model.compute=bf16 --compress
    """
    from vortex.cli.composition import load_options, resolve_model, settings_for
    from vortex.cli.terminal import working
    from vortex.models.decoder.opening import pack_model, packed_folder

    loaded = settings_for(profile, set_, {"model.name": model})
    resolved = resolve_model(loaded)
    options = load_options(resolved, loaded, compress=compress)
    with working(f"packing {resolved.name}"):
        folder = pack_model(resolved.path, out, options) if out else packed_folder(resolved.path, options)
    _show(folder, as_json)


def inspect(folder: FolderArgument, as_json: JsonOption = False) -> None:
    """What a folder holds: tensors, tiles, codecs, sizes, and whether its disk can be read directly."""
    from vortex.c3.format.folder import C3Folder

    _show(C3Folder(folder), as_json)


def verify(folder: FolderArgument, as_json: JsonOption = False) -> None:
    """Read every tile and compare its checksum. The first that differs is named."""
    from vortex.c3.format.folder import C3Folder
    from vortex.cli.terminal import print_json, working

    opened = C3Folder(folder)
    with working(f"reading {folder}"):
        for name in opened.entries:
            opened.verify(name)
    num_tiles = sum(len(entry.tiles) for entry in opened.entries.values())
    if as_json:
        print_json({"path": str(folder), "tensors": len(opened.entries), "tiles": num_tiles, "whole": True})
        return
    typer.echo(f"{folder}: {num_tiles} tiles of {len(opened.entries)} tensors are as they were written")


def plan(
    model: Annotated[str, typer.Argument(help="gpt-oss-120b, gpt-oss-20b, qwen3-30b-a3b, qwen3-8b, llama-3.1-70b.")],
    *,
    ram: Annotated[str, typer.Option("--ram", help="Memory for everything, like 24GB.")],
    disk: Annotated[str, typer.Option("--disk", help="What the disk reads directly, like 3.0GB/s.")],
    memory: Annotated[str, typer.Option("--memory", help="What memory gives the processor.")] = "20GB/s",
    as_json: JsonOption = False,
) -> None:
    """Where every gigabyte of a model would go, and the tokens per second that the bound allows. Arithmetic only.

    Example:

      vortex c3 plan gpt-oss-120b --ram 24GB --disk 3.0GB/s
    """
    from dataclasses import asdict

    from vortex.c3.format.sizes import parse_bytes, spell_bytes
    from vortex.c3.plan import Machine, make_plan
    from vortex.cli.terminal import output, print_json

    machine = Machine(parse_bytes(ram), float(parse_bytes(disk)), float(parse_bytes(memory)))
    made = make_plan(model, machine, _replayed_hit_rate(model))
    if as_json:
        print_json(asdict(made))
        return
    for title, parts in (
        (f"{model} in {spell_bytes(machine.ram_bytes)} of memory", made.parts),
        ("on disk", made.on_disk),
    ):
        rows = [[what, spell_bytes(num_bytes), note] for what, num_bytes, note in parts]
        output().print(_table(title, ["part", "size", "note"], rows))
    rows = [
        [
            speed.basis,
            f"{100 * speed.hit_rate:.1f}%",
            spell_bytes(round(speed.disk_bytes_per_token)),
            f"{1 / speed.seconds_per_token:.2f}",
            f"{1 / speed.seconds_in_turn:.2f}",
        ]
        for speed in made.speeds
    ]
    title = f"bound at {disk} from disk and {memory} from memory, one token per sweep"
    output().print(_table(title, ["hit rate from", "hits", "read per token", "tokens/s", "nothing overlapped"], rows))


def _replayed_hit_rate(model: str) -> HitRate | None:
    """The share of look-ups that the shipped trace of this model would find in a cache of so many bytes."""
    from functools import cache

    from vortex.bench.memory.routes import hit_rate, read_trace

    traces = {"gpt-oss-120b": "gptoss", "qwen3-30b-a3b": "qwen"}
    if model.lower() not in traces:
        return None
    trace = read_trace(traces[model.lower()])
    return cache(lambda cache_bytes: hit_rate(trace, "similar-token", cache_bytes))


def _show(folder: C3Folder, as_json: bool) -> None:
    from collections import Counter

    from vortex.c3.format.sizes import spell_bytes
    from vortex.c3.paging.direct_file import DirectFile
    from vortex.cli.terminal import output, print_json

    with DirectFile(folder.weights_path) as file:
        is_direct = file.is_direct
    tiles = [tile for entry in folder.entries.values() for tile in entry.tiles]
    codecs = Counter(tile.codec for tile in tiles)
    layouts = dict(Counter(entry.layout for entry in folder.entries.values()))
    stored, plain = (sum(getattr(tile, key) for tile in tiles) for key in ("stored_bytes", "num_bytes"))
    summary = {
        "path": str(folder.path),
        "tensors": len(folder.entries),
        "tiles": len(tiles),
        "stored_bytes": stored,
        "bytes": plain,
        "codecs": dict(codecs),
        "layouts": layouts,
        "direct_io": is_direct,
    }
    if as_json:
        print_json(summary)
        return
    typer.echo(f"{folder.path}")
    typer.echo(
        f"{len(folder.entries)} tensors in {len(tiles)} tiles, {spell_bytes(stored)} on disk for {spell_bytes(plain)}"
    )
    typer.echo(
        f"reads: {'direct' if is_direct else 'buffered and dropped behind (this file system has no direct I/O)'}"
    )
    rows = [
        [layout, str(len(entries)), spell_bytes(sum(entry.num_bytes for entry in entries))]
        for layout in layouts
        if (entries := [entry for entry in folder.entries.values() if entry.layout == layout])
    ]
    rows += [[f"codec {codec}", str(count), ""] for codec, count in codecs.items()]
    output().print(_table("", ["layout", "count", "size"], rows))


def _table(title: str, columns: list[str], rows: list[list[str]]) -> object:
    from rich.table import Table

    table = Table(*columns, title=title or None, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for row in rows:
        table.add_row(*row)
    return table
