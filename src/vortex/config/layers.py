"""Which layers make a run's settings, lowest first, and which of their settings are trusted.

A profile may extend another one; the chain ends in `default`. The working folder may hold a repository somebody else
wrote: what its file says (also through `extends`) can tune anything but never loosen security, nor choose the profile.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from vortex.config.entries import Entry, ProfileText, SettingsFile, nearest
from vortex.config.schema import loosening_keys
from vortex.errors import ConfigError

DEFAULT_PROFILE = "default"


@dataclass
class Layers:
    """Entries in the order they apply, and those that were refused."""

    accepted: list[Entry] = field(default_factory=list)
    ignored: list[Entry] = field(default_factory=list)

    def add(self, entries: tuple[Entry, ...], *, trusted: bool) -> None:
        loosening = frozenset() if trusted else loosening_keys()
        self.accepted += [entry for entry in entries if entry.key not in loosening]
        self.ignored += [entry for entry in entries if entry.key in loosening]


@dataclass(frozen=True, slots=True)
class Ancestor:
    name: str
    trusted: bool  # reached without the working folder's help


def stack_files(profile: str, packaged: Mapping[str, ProfileText], user: SettingsFile, working: SettingsFile) -> Layers:
    """Packaged default < profile (ancestors first) < user folder < working folder. Raises ConfigError."""
    users = {text.name: text for text in user.profiles}
    workings = {text.name: text for text in working.profiles}
    layers = Layers()
    for ancestor in reversed(_chain(profile, packaged, users, workings)):
        if text := packaged.get(ancestor.name):
            layers.add(text.entries, trusted=ancestor.trusted)
        if ancestor.name == profile:
            continue  # what the files say of the chosen profile itself comes below, each in its layer
        if text := users.get(ancestor.name):
            layers.add(text.entries, trusted=ancestor.trusted)
        if text := workings.get(ancestor.name):
            layers.add(text.entries, trusted=False)
    for file, texts, trusted in ((user, users, True), (working, workings, False)):
        layers.add(file.entries, trusted=trusted)
        if profile in texts:
            layers.add(texts[profile].entries, trusted=trusted)
    if working.profile is not None:
        layers.ignored.append(working.profile)
    return layers


def _chain(
    profile: str,
    packaged: Mapping[str, ProfileText],
    users: Mapping[str, ProfileText],
    workings: Mapping[str, ProfileText],
) -> list[Ancestor]:
    """The profile, what it extends, and so on to `default`."""
    known = {*packaged, *users, *workings}
    chain: list[Ancestor] = []
    name: str | None = profile
    trusted = True
    while name is not None:
        if name not in known:
            asked = (
                f"profile '{chain[-1].name}' extends '{name}', which does not exist"
                if chain
                else f"no profile '{name}'"
            )
            raise ConfigError(f"{asked}{nearest(name, known)}. Profiles: {', '.join(sorted(known))}")
        if any(ancestor.name == name for ancestor in chain):
            loop = " -> ".join([*(ancestor.name for ancestor in chain), name])
            raise ConfigError(f"profile '{profile}' extends itself ({loop}); remove one `extends`")
        chain.append(Ancestor(name, trusted))
        parent = None
        for source, source_trusted in ((packaged, True), (users, True), (workings, False)):
            if name in source and source[name].extends is not None:
                parent, trusted = source[name].extends, trusted and source_trusted
                break
        name = parent
    if all(ancestor.name != DEFAULT_PROFILE for ancestor in chain):
        chain.append(Ancestor(DEFAULT_PROFILE, True))
    return chain
