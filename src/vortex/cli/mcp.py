"""`vortex mcp`: the agent's tools for another program, over the Model Context Protocol on standard input and output."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vortex.cli.options import ProfileOption, SetOption


def register(app: typer.Typer) -> None:
    app.command("mcp", rich_help_panel="Serve")(mcp)


def mcp(
    folder: Annotated[Path, typer.Option("--folder", help="Folder that the tools work in.")] = Path(),
    allow: Annotated[
        list[str] | None,
        typer.Option("--allow", metavar="EFFECT", help="Also allow: write, command, remember. Repeatable."),
    ] = None,
    profile: ProfileOption = None,
    assignments: SetOption = None,
) -> None:
    """Serve the tools of one folder to an MCP client; reading and running tests are allowed, the rest by --allow."""
    from vortex.agent.mcp.server import serve
    from vortex.agent.tools.tool import Effect
    from vortex.agent.tools.toolbox import Permission
    from vortex.cli.composition import settings_for
    from vortex.cli.tools import toolbox_for
    from vortex.errors import ConfigError

    known = {effect.value: effect for effect in Effect}
    for name in allow or ():
        if name not in known:
            raise ConfigError(f"--allow {name} is not an effect; one of: {', '.join(known)}")
    toolbox = toolbox_for(settings_for(profile, assignments).settings, folder)
    toolbox.by_effect = {**toolbox.by_effect, **{known[name]: Permission.ALLOW for name in allow or ()}}
    serve(toolbox)
