"""`vortex serve`: the model behind OpenAI's wire, until Ctrl-C or SIGTERM.

One line on stdout says where, when requests are being taken; everything else goes to stderr.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vortex.cli.options import (
    AdapterOption,
    BackendOption,
    BadOption,
    BudgetOption,
    ModelOption,
    ProfileOption,
    SetOption,
)

if TYPE_CHECKING:
    from fastapi import FastAPI

    from vortex.cli.doctor.checkup import Finding
    from vortex.config.loading import LoadedSettings
    from vortex.config.schema import Settings
    from vortex.server.keys import ApiKey
    from vortex.server.options import ServerOptions
    from vortex.server.serving import Checkups

KEY_FILE = "server.key"


def register(app: typer.Typer) -> None:
    app.command("serve", rich_help_panel="Serve")(serve)


def serve(
    *,
    profile: ProfileOption = None,
    model: ModelOption = None,
    backend: BackendOption = None,
    budget: BudgetOption = None,
    bad: BadOption = None,
    adapter: AdapterOption = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on; 0.0.0.0: all of them.")] = None,
    port: Annotated[int | None, typer.Option(help="0: any free port.")] = None,
    api_key_file: Annotated[Path | None, typer.Option(help="File with the key that clients must send.")] = None,
    insecure: Annotated[bool, typer.Option("--insecure", help="Let others in without a key.")] = False,
    allow_host: Annotated[list[str] | None, typer.Option(help="A further name this server goes by.")] = None,
    allow_origin: Annotated[list[str] | None, typer.Option(help="A web page's origin that may call.")] = None,
    episodes: Annotated[bool, typer.Option("--episodes/--no-episodes", help="Write chats down for feedback.")] = True,
    console: Annotated[bool, typer.Option("--console/--no-console", help="The page of `vortex console`.")] = True,
    set_: SetOption = None,
) -> None:
    """Serve the model to any OpenAI client.

    Examples:

      vortex serve

      KLIMEAI_API_TOKEN=devtoken vortex serve --host 0.0.0.0 --port 8000

      vortex serve --backend fake --port 0        a scripted model, for trying clients
    """
    from dataclasses import replace

    from vortex.cli.composition import settings_for

    flags = {
        "model.name": model,
        "model.backend": backend,
        "runtime.cache_vram_budget_mb": budget,
        "bad.enabled": bad,
        "adapters.name": adapter,
        "server.host": host,
        "server.port": port,
    }
    loaded = settings_for(profile, set_, flags)
    key = _key(loaded.settings, api_key_file, insecure=insecure)
    options = replace(
        server_options(loaded.settings, key, episodes=episodes),
        allowed_hosts=tuple(allow_host or ()),
        allowed_origins=tuple(allow_origin or ()),
    )
    _run(loaded, options, key, console=console)


def _run(loaded: LoadedSettings, options: ServerOptions, key: ApiKey, *, console: bool) -> None:
    """The port is taken first: to load a model in vain takes longer than to be told."""
    from contextlib import nullcontext

    from vortex.cli.console.opening import noted
    from vortex.cli.terminal import notice
    from vortex.server.process import bind, run

    listener = bind(options.host, options.port)
    if key.drawn_to is not None:
        notice(f"others can reach this server, so clients need a key (kept in {key.drawn_to}):\n  {key.value}")
    try:
        app = open_app(loaded, options, console=console)
    except BaseException:
        listener.close()
        raise
    address = f"[{options.host}]" if ":" in options.host else options.host
    port = listener.getsockname()[1]

    def announce() -> None:
        sys.stdout.write(f"serving on http://{address}:{port}/v1\n")
        sys.stdout.flush()
        if console:
            notice("to decide what it learns: vortex console")

    with noted(f"http://{_own_address(options.host)}:{port}") if console else nullcontext():
        run(app, listener, options, announce)


def _own_address(host: str) -> str:
    """How this machine reaches a server that listens on `host`."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(host, host)  # noqa: S104 - compared, not bound
    return f"[{host}]" if ":" in host else host


def open_app(loaded: LoadedSettings, options: ServerOptions, *, console: bool = False) -> FastAPI:
    """The application with its model opened, for whatever runs it. It closes what is opened here when it shuts down."""
    from dataclasses import replace

    from vortex.cli.composition import open_backend, with_manners
    from vortex.cli.console.opening import open_console
    from vortex.cli.embedder import with_embedder
    from vortex.cli.knowing import open_desk
    from vortex.cli.lessons import open_lesson_desk
    from vortex.cli.several import sampling_of as sampling_by_model
    from vortex.cli.several import several_models
    from vortex.cli.turn import sampling_of
    from vortex.engine.backend import LocalBackend
    from vortex.server.app import create_app

    loaded, system = with_manners(loaded)
    backend = open_backend(loaded, system, keep_prompts=True, serves=True)
    options = replace(options, sampling=sampling_of(loaded.settings, None))
    places = None
    if isinstance(backend, LocalBackend):
        if loaded.settings.server.several_models and loaded.settings.model.backend != "hash":
            options = replace(options, sampling_of=sampling_by_model(loaded, backend.card.name))
            backend = places = several_models(loaded, backend, system)
        backend = with_embedder(backend)
    lessons = open_lesson_desk(loaded.settings) if options.episodes_dir is not None else None
    pages = open_console(loaded).routes() if console else ()
    desk = open_desk(loaded.settings)
    return create_app(backend, options, _checkups(loaded), desk, lessons, pages=pages, places=places)


def _key(settings: Settings, api_key_file: Path | None, *, insecure: bool) -> ApiKey:
    from vortex.server.keys import key_for, read_key_file

    given = read_key_file(api_key_file) if api_key_file else settings.server.api_token
    return key_for(settings.server.host, given or None, drawn_key_file(), insecure=insecure)


def drawn_key_file() -> Path:
    """Where the key is kept that was drawn for a server that others can reach."""
    import platformdirs

    return platformdirs.user_config_path("vortex") / KEY_FILE


def _checkups(loaded: LoadedSettings) -> Checkups:
    """What `vortex doctor` and `vortex doctor --deep` find, for `/doctor` and `/doctor/deep`."""
    from vortex.server.serving import Checkups

    def report(findings: Iterable[Finding]) -> dict[str, Any]:
        found = [finding.as_json() for finding in findings]
        return {"ok": all(one["status"] != "missing" for one in found), "profile": loaded.profile, "findings": found}

    def quick() -> dict[str, Any]:
        from vortex.cli.doctor.checkup import look_around

        return report(look_around(loaded))

    def deep() -> dict[str, Any]:
        from vortex.cli.doctor.checkup import look_around
        from vortex.cli.doctor.checkup_deep import examine

        return report(chain(look_around(loaded), examine(loaded)))

    return Checkups(quick=quick, deep=deep)


def server_options(settings: Settings, key: ApiKey, *, episodes: bool) -> ServerOptions:
    from vortex.cli.turn import sampling_of
    from vortex.config.data_folder import data_path
    from vortex.server.options import Limits, ServerOptions

    return ServerOptions(
        host=settings.server.host,
        port=settings.server.port,
        api_key=key.value,
        sampling=sampling_of(settings, None),
        limits=Limits(choices=settings.runtime.max_active),
        episodes_dir=data_path("episodes") if episodes else None,
    )
