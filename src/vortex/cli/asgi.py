"""The server as an application, for a program that runs applications: Ray Serve, or an ASGI server of your own.

Settings come from where `vortex serve` takes them (profile, your settings file, KLIMEAI_API_TOKEN); flags stand above.
Promises: beyond this machine there is a key, or a ConfigError. Does not do: listen; draw a key, since several replicas
would each draw their own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from vortex.errors import ConfigError

if TYPE_CHECKING:
    from fastapi import FastAPI


def build_app(
    profile: str | None = None, flags: Mapping[str, object] | None = None, *, host: str = "127.0.0.1"
) -> FastAPI:
    """The application with its model open. flags: settings by name, as {"model.name": …}. host: where whoever runs it
    listens; beyond loopback KLIMEAI_API_TOKEN must be set. Nothing is written down: replicas share no folder."""
    from vortex.cli.composition import settings_for
    from vortex.cli.serve import open_app, server_options
    from vortex.server.keys import ApiKey, is_loopback

    loaded = settings_for(profile, flags=flags)
    key = loaded.settings.server.api_token or None
    if key is None and not is_loopback(host):
        raise ConfigError(f"{host} is reachable by others: set KLIMEAI_API_TOKEN on every machine, or use 127.0.0.1")
    return open_app(loaded, server_options(loaded.settings, ApiKey(key), episodes=False))
