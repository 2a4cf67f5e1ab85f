"""`vortex adapters`: LoRA adapters on this machine: list, add, remove, look into one."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vortex.cli.options import JsonOption, ModelOption, ProfileOption, SetOption

if TYPE_CHECKING:
    from vortex.adapters.store import StoredAdapter

NAME_HELP = "A name that `vortex adapters list` shows."


def register(app: typer.Typer) -> None:
    group = typer.Typer(help="LoRA adapters: small changes to a model, switched per request.", no_args_is_help=True)
    group.command("list")(list_adapters)
    group.command("add")(add)
    group.command("remove")(remove)
    group.command("inspect")(inspect)
    app.add_typer(group, name="adapters", rich_help_panel="Models")


def list_adapters(as_json: JsonOption = False) -> None:
    """List the adapters on this machine, with the model that each is for."""
    from vortex.cli.adapter_shelf import adapter_store
    from vortex.cli.terminal import output, print_json

    found = adapter_store().list()
    if as_json:
        print_json({"adapters": [asdict(record) for record in found]})
        return
    if not found:
        typer.echo("No adapters are here yet. Add one: vortex adapters add FOLDER")
        return
    from rich.table import Table
    from rich.text import Text

    table = Table("adapter", "for", "rank", "size", "added", "from", box=None, pad_edge=False, header_style="bold")
    for record in found:
        cells = (record.name, record.model, _rank(record.ranks), _megabytes(record.num_bytes), record.added_at[:10])
        table.add_row(*map(Text, cells), Text(record.source, style="dim"))
    output().print(table)


def add(
    folder: Annotated[
        str,
        typer.Argument(metavar="FOLDER|REPOSITORY", help="In peft's format: a folder, or a Hugging Face repository."),
    ],
    name: Annotated[str | None, typer.Option(help="What requests will call it; else the folder's name.")] = None,
    *,
    profile: ProfileOption = None,
    model: ModelOption = None,
    as_json: JsonOption = False,
    set_: SetOption = None,
) -> None:
    """Copy an adapter that fits the model into the cache, whoever made it (peft, TRL, Unsloth).

    Examples:

      vortex adapters add runs/support-tone

      vortex adapters add ~/Downloads/sql-lora --name sql --model Qwen/Qwen2.5-Coder-0.5B-Instruct

      vortex adapters add somebody/sql-lora --model Qwen/Qwen2.5-Coder-0.5B-Instruct
    """
    from vortex.cli.adapter_shelf import adapter_store, found_adapter, targets_of
    from vortex.cli.composition import resolve_model, settings_for
    from vortex.cli.terminal import notice, print_json

    loaded = settings_for(profile, set_, {"model.name": model})
    targets = targets_of(resolve_model(loaded), loaded.settings.model.compute)
    source, usual, origin = found_adapter(folder, offline=loaded.settings.runtime.offline)
    record = adapter_store().add(source, name or usual, targets, origin)
    if as_json:
        print_json(asdict(record))
        return
    typer.echo(f"{record.name} is here, for {record.model}: vortex chat --adapter {record.name}")
    notice(_described(record))


def remove(name: Annotated[str, typer.Argument(help=NAME_HELP)], as_json: JsonOption = False) -> None:
    """Delete an adapter of the cache. Requests that run with it end as they began."""
    from vortex.cli.adapter_shelf import adapter_store
    from vortex.cli.terminal import print_json

    freed_bytes = adapter_store().remove(name)
    if as_json:
        print_json({"name": name, "freed_bytes": freed_bytes})
    else:
        typer.echo(f"removed {name}: {_megabytes(freed_bytes)} freed")


def inspect(
    adapter: Annotated[str, typer.Argument(metavar="NAME|PATH", help="A name of the list, or any adapter's folder.")],
    as_json: JsonOption = False,
) -> None:
    """Say what is in an adapter, whether or not a model for it is here."""
    from vortex.adapters.reading import adapter_hash, read_adapter_file
    from vortex.cli.adapter_shelf import adapter_store
    from vortex.cli.terminal import print_json

    record = adapter_store().find(adapter)
    file = read_adapter_file(record.folder if record else Path(adapter).expanduser())
    ranks = [part.rank for part in file.parts.values()]
    facts: dict[str, Any] = {
        "hash": adapter_hash(file.parts),
        "made_for": file.config.base,
        "base_identity": file.base_identity,
        "rank": [min(ranks), max(ranks)],
        "scale": sorted({round(part.scale, 6) for part in file.parts.values()}),
        "layers": len(ranks),
        "kinds": sorted({name.rsplit(".", 1)[-1] for name in file.parts}),
        "type": sorted({_type(part.a.dtype.str) for part in file.parts.values()}),
        "size_bytes": file.num_bytes,
        "folder": str(file.folder),
    }
    if record:
        facts |= {"name": record.name, "model": record.model, "source": record.source, "added_at": record.added_at}
    if as_json:
        print_json(facts)
        return
    for key, value in facts.items():
        text = (
            ", ".join(map(str, value)) if isinstance(value, list) else str(value if value is not None else "not said")
        )
        typer.echo(f"{key:14} {text}")


def _described(record: StoredAdapter) -> str:
    made_for = f"; its makers say: for {record.made_for}" if record.made_for else ""
    return f"rank {_rank(record.ranks)}, {record.num_layers} layers, {_megabytes(record.num_bytes)}{made_for}"


def _rank(ranks: tuple[int, int]) -> str:
    return str(ranks[0]) if ranks[0] == ranks[1] else f"{ranks[0]}-{ranks[1]}"


def _type(code: str) -> str:
    return {"<f4": "float32", "<f2": "float16", "<u2": "bfloat16"}[code]


def _megabytes(size_bytes: int) -> str:
    return f"{size_bytes / 1e6:,.1f} MB"
