"""`vortex console`: opens the page where a person decides, with a link that works once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from vortex.cli.console.opening import Running


def register(app: typer.Typer) -> None:
    app.command("console", rich_help_panel="Improve")(console)


def console(
    *,
    print_: Annotated[bool, typer.Option("--print", help="Print the link instead of opening it.")] = False,
    url: Annotated[str | None, typer.Option("--url", help="Of the server; else the one that runs here.")] = None,
    sign_out_all: Annotated[bool, typer.Option("--sign-out-all", help="End every session and link.")] = False,
) -> None:
    """Open the console of the running server: chat, decide, take back, see how it is.

    The link opens once, within ten minutes; after that a cookie of that browser counts for a week.

    Examples:

      vortex console

      vortex console --print       for another browser, or over an SSH tunnel
    """
    from vortex.cli.console.opening import open_doors
    from vortex.cli.terminal import notice

    if sign_out_all:
        count = open_doors().close_all()
        typer.echo(f"{count} {'session' if count == 1 else 'sessions'} ended")
        return
    address = url.rstrip("/") if url else _running().url
    link = f"{address}/console/enter?key={open_doors().new_key()}"
    if print_:
        typer.echo(link)
        return
    if not _opened(link):
        notice("no browser could be opened here; the link, good once and for ten minutes:")
        typer.echo(link)


def _running() -> Running:
    """The server of this data folder, else the newest. Raises ConfigError where none answers."""
    from vortex.cli.console.opening import running_servers
    from vortex.config.data_folder import data_path
    from vortex.errors import ConfigError

    here = str(data_path().resolve())
    servers = sorted(running_servers(), key=lambda one: one.data != here)
    for one in servers:
        if _answers(one.url):
            return one
    raise ConfigError("no server with a console runs here; start one: vortex serve (or name it with --url)")


def _answers(url: str) -> bool:
    import contextlib
    import http.client
    from urllib.parse import urlsplit

    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=2)
    with contextlib.closing(connection):
        try:
            connection.request("GET", "/healthz")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False


def _opened(link: str) -> bool:
    import webbrowser

    try:
        return webbrowser.open(link)
    except webbrowser.Error:
        return False
