"""`vortex ps` and `vortex stop`: which models a running server holds, and closing one that is idle."""

from __future__ import annotations

import http.client
import json
from typing import Annotated, Any
from urllib.parse import urlsplit

import typer

from vortex.cli.options import JsonOption

TIMEOUT_S = 10
UrlOption = Annotated[
    str | None, typer.Option("--url", help="Address of the server; without one: as `vortex serve` would listen here.")
]


def register(app: typer.Typer) -> None:
    app.command("ps", rich_help_panel="Models")(ps)
    app.command("stop", rich_help_panel="Models")(stop)


def ps(
    *,
    url: UrlOption = None,
    every: Annotated[bool, typer.Option("--all", "-a", help="Also what is not open.")] = False,
    as_json: JsonOption = False,
) -> None:
    """List the models that a running server holds open, with their memory and how long they have been idle."""
    from vortex.cli.terminal import output, print_json

    listed = _ask("GET", "/v1/models", url)["data"]
    rows = [row for row in listed if "state" in row and (every or row["state"] in {"open", "opening"})]
    if as_json:
        print_json({"models": rows})
        return
    if listed and not any("state" in row for row in listed):
        typer.echo("This server holds one model: " + ", ".join(str(row["id"]) for row in listed[:1]))
        return
    from rich.table import Table
    from rich.text import Text

    table = Table("model", "state", "weights", "answering", "idle", box=None, pad_edge=False, header_style="bold")
    for row in rows:
        idle = "" if row["idle_s"] is None else f"{row['idle_s']:.0f} s"
        state = row["state"] + (f": {row['error']}" if row.get("error") else "")
        table.add_row(Text(row["id"]), Text(state), f"{row['size_bytes'] / 1e6:,.0f} MB", str(row["active"]), idle)
    output().print(table)


def stop(
    name: Annotated[str, typer.Argument(help="A model that `vortex ps` lists.")], *, url: UrlOption = None
) -> None:
    """Close a model of a running server and give its memory back. One that is answering is left alone.

    Examples:

      vortex stop qwen2.5-coder-1.5b

      vortex stop smollm2-135m --url http://127.0.0.1:8001
    """
    _ask("POST", "/v1/models/unload", url, {"model": name})
    typer.echo(f"{name} is closed; the next request for it opens it again")


def _ask(method: str, path: str, url: str | None, body: dict[str, Any] | None = None) -> dict[str, Any]:
    """The server's JSON. Raises BackendError where none answers or it refuses."""
    from vortex.errors import BackendError

    address, key = _address(url)
    parts = urlsplit(address)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "127.0.0.1", parts.port, timeout=TIMEOUT_S)
    headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {key}"} if key else {})}
    try:
        connection.request(method, path, json.dumps(body) if body else None, headers)
        answer = connection.getresponse()
        content = json.loads(answer.read())
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise BackendError(f"no Vortex server answers at {address} ({error}); start one with: vortex serve") from error
    finally:
        connection.close()
    if not isinstance(content, dict):
        raise BackendError(f"{address} is no Vortex server: {path} gave no object")
    if answer.status != http.client.OK:
        refusal = content.get("error")
        said = refusal.get("message") if isinstance(refusal, dict) else f"status {answer.status}"
        raise BackendError(str(said), status=answer.status)
    return content


def _address(url: str | None) -> tuple[str, str]:
    """(address without a path, key or nothing)."""
    from vortex.cli.composition import settings_for
    from vortex.cli.serve import drawn_key_file

    settings = settings_for().settings.server
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)  # noqa: S104 - compared, not bound
    address = (url or f"http://{f'[{host}]' if ':' in host else host}:{settings.port}").removesuffix("/v1")
    key, drawn = settings.api_token, drawn_key_file()
    if not key and drawn.is_file() and urlsplit(address).hostname in {"127.0.0.1", "::1", "localhost"}:
        key = drawn.read_text(encoding="utf-8").strip()
    return address, key
