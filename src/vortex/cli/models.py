"""`vortex pull` and `vortex models`: fetch a model, see what is here and what would run well, delete one."""

from __future__ import annotations

from typing import Annotated

import typer

from vortex.cli.options import JsonOption
from vortex.cli.recommending import recommend


def register(app: typer.Typer) -> None:
    app.command("pull", rich_help_panel="Models")(pull)
    group = typer.Typer(help="Models on this machine.", invoke_without_command=True)
    group.callback()(models)
    group.command("list")(models_list)
    group.command("recommend")(recommend)
    group.command("rm")(remove)
    app.add_typer(group, name="models", rich_help_panel="Models")


def pull(
    name: Annotated[
        str,
        typer.Argument(help="A known name (vortex models list --known), or a Hugging Face repo, as owner/name:Q4_K_M."),
    ],
    as_json: JsonOption = False,
) -> None:
    """Fetch a model to this machine. One that is here already is left as it is.

    Examples:

      vortex pull smollm2-135m

      vortex pull qwen2.5-coder-1.5b

      vortex pull Qwen/Qwen3-0.6B

      vortex pull Qwen/Qwen3-4B-GGUF:Q4_K_M        one quantisation of a repository of GGUF files
    """
    from vortex.cli.download import download_progress
    from vortex.cli.terminal import notice, print_json
    from vortex.hub.names import resolve

    with download_progress() as sink:
        model = resolve(name, progress=sink)
    if as_json:
        print_json(
            {
                "name": model.name,
                "kind": model.kind.value,
                "path": str(model.path),
                "licence": model.licence,
                "origin": model.origin,
            }
        )
        return
    typer.echo(f"{model.name} is here: {model.path}")
    notice(f"licence: {model.licence or 'not stated'}; from: {model.origin}")


def models(context: typer.Context, as_json: JsonOption = False) -> None:
    """List the models on this machine: size, licence, origin."""
    if context.invoked_subcommand is None:
        _list(as_json=as_json)


def models_list(
    known: Annotated[bool, typer.Option("--known", help="What has a name here, fetched or not.")] = False,
    as_json: JsonOption = False,
) -> None:
    """List the models on this machine, as `vortex models` does; or those that have a name here."""
    if known:
        _list_known(as_json=as_json)
    else:
        _list(as_json=as_json)


def _list_known(*, as_json: bool) -> None:
    from vortex.cli.recommending import names_here
    from vortex.cli.terminal import output, print_json
    from vortex.hub.names import KNOWN

    here = names_here()
    rows = [
        {"name": one.name, "size_bytes": one.size_bytes, "licence": one.licence, "is_here": one.name in here}
        for one in KNOWN.values()
    ]
    if as_json:
        print_json({"models": rows})
        return
    from rich.table import Table

    table = Table("model", "size", "here", "licence", box=None, pad_edge=False, header_style="bold")
    for spec, row in zip(KNOWN.values(), rows, strict=True):
        table.add_row(spec.name, _megabytes(spec.size_bytes), "yes" if row["is_here"] else "-", spec.licence)
    output().print(table)


def _list(*, as_json: bool) -> None:
    from vortex.cli.terminal import output, print_json
    from vortex.hub.names import list_models

    found = list_models()
    if as_json:
        print_json(
            {
                "models": [
                    {
                        "name": model.name,
                        "size_bytes": model.size_bytes,
                        "made_bytes": model.made_bytes,
                        "licence": model.licence,
                        "origin": model.origin,
                        "path": str(model.path),
                    }
                    for model in found
                ]
            }
        )
        return
    if not found:
        typer.echo("No models are here yet. Fetch the default one: vortex pull smollm2-135m")
        return
    from rich.table import Table
    from rich.text import Text

    table = Table("model", "size", "packed", "licence", "origin", box=None, pad_edge=False, header_style="bold")
    for model in found:
        licence, origin = Text(model.licence or "not stated"), Text(model.origin, style="dim")
        table.add_row(Text(model.name), _megabytes(model.size_bytes), _megabytes(model.made_bytes), licence, origin)
    output().print(table)


def remove(
    name: Annotated[str, typer.Argument(help="A name that `vortex models` lists, or the path of a model file.")],
    as_json: JsonOption = False,
) -> None:
    """Delete a model with everything packed from it. A model file outside the cache is never deleted."""
    from vortex.cli.terminal import print_json
    from vortex.hub.names import remove_model

    removed = remove_model(name)
    if as_json:
        print_json({"name": name, "freed_bytes": removed.freed_bytes, "file_kept": removed.kept is not None})
    elif removed.kept is not None:
        typer.echo(f"removed the packed copy: {_megabytes(removed.freed_bytes)} freed; the model file itself is kept")
    else:
        typer.echo(f"removed {name}: {_megabytes(removed.freed_bytes)} freed")


def _megabytes(size_bytes: int) -> str:
    return f"{size_bytes / 1e6:,.0f} MB" if size_bytes else "-"
