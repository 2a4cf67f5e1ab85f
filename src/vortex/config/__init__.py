"""Settings: what can be set, where it is read from, and where each value came from. No torch."""

from vortex.config.loading import (
    LoadedSettings,
    SettingsSources,
    load_settings,
    packaged_profiles,
    profile_names,
)
from vortex.config.schema import Settings, keys_of, loosening_keys

__all__ = [
    "LoadedSettings",
    "Settings",
    "SettingsSources",
    "keys_of",
    "load_settings",
    "loosening_keys",
    "packaged_profiles",
    "profile_names",
]
