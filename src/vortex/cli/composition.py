"""The only place that picks concrete classes: from settings to something that answers.

Heavy parts are imported when they are opened, so that a command which needs no model starts at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from vortex.config import LoadedSettings, SettingsSources, load_settings
from vortex.protocols import ChatBackend


def settings_for(
    profile: str | None = None, assignments: Sequence[str] | None = None, flags: Mapping[str, object] | None = None
) -> LoadedSettings:
    """Settings of this run; says which settings of the working folder's file were refused. Raises ConfigError."""
    from vortex.cli.terminal import warn

    loaded = load_settings(SettingsSources(profile=profile, assignments=assignments or (), flags=flags or {}))
    for entry in loaded.ignored:
        warn(
            f"{entry.origin}: '{entry.key}' is not read from the working folder; "
            "put it into your own settings file (`vortex config path`) or on the command line"
        )
    return loaded


def open_backend(loaded: LoadedSettings) -> ChatBackend:
    """What answers requests, as the settings ask. Close it after use. Raises VortexError."""
    settings = loaded.settings
    if settings.model.backend == "fake":
        from vortex.backends.fake import FakeBackend

        return FakeBackend()
    if settings.model.backend == "http":
        from vortex.backends.http import HttpBackend

        return HttpBackend(settings.model.base_url, api_key=settings.server.api_token or None)
    raise AssertionError
