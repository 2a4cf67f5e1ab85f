"""Settings of one run: layers merged from the lowest to the highest, each value with where it came from.

    built in (the schema) < profile < user folder < config/settings.yaml here < environment < --set < flags

Promises: the result is immutable and complete; a wrong key or value is a ConfigError that says file, line and choices;
a setting that loosens security is not taken from the working folder's file, and `ignored` says which was not.
Reads files and environment only; creates nothing.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

import platformdirs
from pydantic import ValidationError

from vortex.config.entries import (
    Entry,
    ProfileText,
    SettingsFile,
    read_assignments,
    read_environment,
    read_profile_file,
    read_settings_file,
)
from vortex.config.layers import DEFAULT_PROFILE, stack_files
from vortex.config.retired import RETIRED
from vortex.config.schema import SECRET_KEYS, Settings, keys_of
from vortex.errors import ConfigError

WORKING_FILE = Path("config") / "settings.yaml"
BUILT_IN = "built in"  # the origin of a value that no layer sets


@dataclass(frozen=True, slots=True)
class LoadedSettings:
    """origins: dotted key to the place that set it. ignored: keys refused from the working folder's file. retired: keys
    that no longer exist."""

    settings: Settings
    profile: str
    origins: Mapping[str, str]
    ignored: tuple[Entry, ...] = ()
    retired: tuple[Entry, ...] = ()

    def value(self, key: str) -> object:
        value: object = self.settings
        for name in key.split("."):
            value = getattr(value, name)
        return value

    def is_profiles_own(self, key: str) -> bool:
        """Whether it comes from the program, by a packaged profile or as its default, and nobody here set it."""
        return self.is_built_in(key) or self.origins[key].startswith("profile ")

    def is_built_in(self, key: str) -> bool:
        """Whether it has the value that the program comes with."""
        return self.origins[key] == BUILT_IN

    def shown(self, key: str) -> object:
        """The value as it may be printed: secrets are masked."""
        value = self.value(key)
        return "(set, not shown)" if key in SECRET_KEYS and value else value


@dataclass(frozen=True, slots=True)
class SettingsSources:
    """Where settings come from. `flags` are dotted keys set by options of the command line; None means not given."""

    profile: str | None = None
    assignments: Sequence[str] = ()
    flags: Mapping[str, object] = field(default_factory=dict)
    working_folder: Path = field(default_factory=Path.cwd)
    user_folder: Path = field(default_factory=lambda: platformdirs.user_config_path("vortex"))
    environment: Mapping[str, str] = field(default_factory=lambda: os.environ)


def packaged_profiles() -> dict[str, ProfileText]:
    """Profiles that come with the program, by name."""
    folder = resources.files("vortex.config") / "profiles"
    with resources.as_file(folder) as path:
        return {file.stem: read_profile_file(file, f"profile {file.stem}") for file in sorted(path.glob("*.yaml"))}


def load_settings(sources: SettingsSources | None = None) -> LoadedSettings:
    """Merge all layers. Raises ConfigError."""
    sources = sources or SettingsSources()
    user, working = _files(sources)
    name = _profile_name(sources, user)
    layers = stack_files(name, packaged_profiles(), user, working)
    flags = [Entry(key, value, "command line") for key, value in sources.flags.items() if value is not None]
    entries = [
        *layers.accepted,
        *read_environment(sources.environment),
        *read_assignments(sources.assignments),
        *flags,
    ]
    merged = {entry.key: entry for entry in entries if entry.key not in RETIRED}
    return LoadedSettings(
        settings=_validate(merged),
        profile=name,
        origins={key: merged[key].origin if key in merged else BUILT_IN for key in keys_of()},
        ignored=tuple(layers.ignored),
        retired=tuple(entry for entry in entries if entry.key in RETIRED),
    )


def profile_names(sources: SettingsSources | None = None) -> list[str]:
    """Every profile that `--profile` accepts here."""
    sources = sources or SettingsSources()
    user, working = _files(sources)
    return sorted({*packaged_profiles(), *(profile.name for profile in (*user.profiles, *working.profiles))})


def _files(sources: SettingsSources) -> tuple[SettingsFile, SettingsFile]:
    """The user's file and the working folder's."""
    users = sources.user_folder / "settings.yaml"
    return (
        read_settings_file(users, str(users)),
        read_settings_file(sources.working_folder / WORKING_FILE, WORKING_FILE.as_posix()),
    )


def _profile_name(sources: SettingsSources, user: SettingsFile) -> str:
    """`--profile`, then VORTEX_PROFILE, then `profile:` of the user's file."""
    named = sources.profile or sources.environment.get("VORTEX_PROFILE")
    if named:
        return named
    return str(user.profile.value) if user.profile else DEFAULT_PROFILE


def _validate(merged: Mapping[str, Entry]) -> Settings:
    tree: dict[str, Any] = {}
    for key, entry in merged.items():
        *path, name = key.split(".")
        branch = tree
        for part in path:
            branch = branch.setdefault(part, {})
        branch[name] = entry.value
    try:
        return Settings.model_validate(tree)
    except ValidationError as error:
        problem = error.errors()[0]
        key = ".".join(str(part) for part in problem["loc"])
        entry = merged[key]
        raise ConfigError(f"{entry.origin}: {key}: {problem['msg'].lower()} (got {entry.value!r})") from error
