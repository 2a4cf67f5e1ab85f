"""`vortex config`: which settings a run would have, and where each value comes from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vortex.cli.options import JsonOption, ModelOption, ProfileOption, SetOption


def register(app: typer.Typer) -> None:
    group = typer.Typer(help="See settings and where they come from.", no_args_is_help=True)
    group.command("show")(show)
    group.command("profiles")(profiles)
    group.command("path")(path)
    group.command("trust")(trust)
    app.add_typer(group, name="config", rich_help_panel="Look around")


def show(
    section: Annotated[str, typer.Argument(help="Only this section or setting, for example: decode")] = "",
    *,
    profile: ProfileOption = None,
    model: ModelOption = None,
    set_: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Every setting with its value and the place that set it."""
    from vortex.cli.composition import settings_for
    from vortex.cli.terminal import output, print_json
    from vortex.config.schema import keys_of
    from vortex.errors import ConfigError

    loaded = settings_for(profile, set_, {"model.name": model})
    keys = [key for key in keys_of() if not section or key == section or key.startswith(f"{section}.")]
    if not keys:
        sections = ", ".join(dict.fromkeys(key.split(".")[0] for key in keys_of()))
        raise ConfigError(f"no section or setting '{section}'. Sections: {sections}")
    if as_json:
        settings = {key: {"value": loaded.shown(key), "origin": loaded.origins[key]} for key in keys}
        print_json({"profile": loaded.profile, "settings": settings})
        return
    from rich.table import Table
    from rich.text import Text

    table = Table("setting", "value", "from", box=None, pad_edge=False, header_style="bold")
    for key in keys:
        table.add_row(Text(key), Text(_spelled(loaded.shown(key))), Text(loaded.origins[key], style="dim"))
    output().print(f"profile [bold]{loaded.profile}[/bold]\n", highlight=False)
    output().print(table)


def _spelled(value: object) -> str:
    """As a settings file and --set spell it."""
    if value is None:
        return "none"
    return str(value).lower() if isinstance(value, bool) else str(value)


def profiles(as_json: JsonOption = False) -> None:
    """Profiles that --profile accepts here."""
    from vortex.cli.terminal import print_json
    from vortex.config.loading import profile_names

    names = profile_names()
    if as_json:
        print_json({"profiles": names})
    else:
        typer.echo("\n".join(names))


def path(as_json: JsonOption = False) -> None:
    """Files that settings are read from, lowest layer first."""
    from vortex.cli.terminal import print_json
    from vortex.config.loading import WORKING_FILE, SettingsSources

    sources = SettingsSources()
    files = [sources.user_folder / "settings.yaml", sources.working_folder / WORKING_FILE]
    if as_json:
        print_json({"files": [{"path": str(file), "exists": file.is_file()} for file in files]})
        return
    for file in files:
        typer.echo(f"{file}{'' if file.is_file() else '  (not there)'}")


def trust(
    file: Annotated[Path, typer.Argument(help="The file, as it is now.")] = Path("config/.env"),
) -> None:
    """Let a variables file of a folder redirect the engine, allow hosts and move the ledger: it is yours.

    What it says holds until it changes; a changed file is asked about anew.
    """
    from vortex.config.trust import trust as remember
    from vortex.errors import ConfigError

    if not file.is_file():
        raise ConfigError(f"there is no {file}")
    remember(file)
    typer.echo(f"{file.resolve()} is trusted as it is now")
