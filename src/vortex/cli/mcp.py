"""`vortex mcp`: the agent's tools for another program, over the Model Context Protocol: standard streams or HTTP."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vortex.cli.options import PermitOption, ProfileOption, SetOption


def register(app: typer.Typer) -> None:
    app.command("mcp", rich_help_panel="Serve")(mcp)


def mcp(
    *,
    folder: Annotated[Path, typer.Option("--folder", help="Folder that the tools work in.")] = Path(),
    allow: Annotated[
        list[str] | None,
        typer.Option("--allow", metavar="EFFECT", help="Also allow: write, command, remember. Repeatable."),
    ] = None,
    permit: PermitOption = None,
    http: Annotated[
        int | None, typer.Option("--http", metavar="PORT", help="Streamable HTTP on this port, not standard streams.")
    ] = None,
    host: Annotated[str, typer.Option("--host", help="Where --http listens; beyond 127.0.0.1 with a token.")] = (
        "127.0.0.1"
    ),
    profile: ProfileOption = None,
    assignments: SetOption = None,
) -> None:
    """Serve the tools of one folder to an MCP client; reading and running tests are allowed, the rest by --allow.

    Examples:

      vortex mcp --folder project --allow write

      vortex mcp --http 9000 --permit run_command=block
    """
    from vortex.agent.mcp.server import serve, serve_http
    from vortex.agent.tools.tool import Effect
    from vortex.agent.tools.toolbox import Permission, permissions_given
    from vortex.cli.composition import settings_for
    from vortex.cli.terminal import notice
    from vortex.cli.tools import read_permissions, toolbox_for
    from vortex.errors import ConfigError

    known = {effect.value: effect for effect in Effect}
    for name in allow or ():
        if name not in known:
            raise ConfigError(f"--allow {name} is not an effect; one of: {', '.join(known)}")
    settings = settings_for(profile, assignments).settings
    toolbox = toolbox_for(settings, folder)
    words = read_permissions([*settings.tools.permissions, *(permit or ())])
    by_effect, by_tool = permissions_given(words)
    toolbox.by_effect = {**toolbox.by_effect, **by_effect, **{known[name]: Permission.ALLOW for name in allow or ()}}
    toolbox.by_tool = by_tool
    if http is None:
        serve(toolbox)
        return
    notice(f"tools of {folder.resolve()} at http://{host}:{http}/mcp; Ctrl-C ends it")
    serve_http(toolbox, host, http, settings.server.api_token or None)
