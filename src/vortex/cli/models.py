"""`vortex pull` and `vortex models`: fetch a model, see what is here, delete one."""

from __future__ import annotations

from typing import Annotated

import typer

from vortex.cli.options import JsonOption


def register(app: typer.Typer) -> None:
    app.command("pull", rich_help_panel="Models")(pull)
    group = typer.Typer(help="Models on this machine.", invoke_without_command=True)
    group.callback()(models)
    group.command("rm")(remove)
    app.add_typer(group, name="models", rich_help_panel="Models")


def pull(
    name: Annotated[str, typer.Argument(help="smollm2-135m, gemma3-270m, all-minilm-l6-v2, or a Hugging Face repo.")],
    as_json: JsonOption = False,
) -> None:
    """Fetch a model to this machine. One that is here already is left as it is.

    Examples:

      vortex pull smollm2-135m

      vortex pull Qwen/Qwen3-0.6B
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
    if context.invoked_subcommand is not None:
        return
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
