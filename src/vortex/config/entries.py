"""Settings as they were written: a dotted key, a value, and where it stands.

Reads YAML with the line of every key, environment variables and `a.b=c` arguments into one list of entries. Checks
that keys exist and names the nearest one where they do not; values are checked when layers are merged (`loading`).
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml
from pydantic import BaseModel

from vortex.config.retired import RETIRED
from vortex.config.schema import Settings, children
from vortex.errors import ConfigError

ENVIRONMENT_PREFIX = "VORTEX__"
ENVIRONMENT_NAMES = {"KLIMEAI_API_TOKEN": "server.api_token", "C3RNT2_NO_NET": "runtime.offline"}


@dataclass(frozen=True, slots=True)
class Entry:
    """`origin` is what a user can open or change: `config/settings.yaml:12`, `VORTEX__DECODE__TOP_K`, `--set`."""

    key: str
    value: object
    origin: str


@dataclass(frozen=True, slots=True)
class ProfileText:
    """One profile as a file defines it, before the layers below it are known."""

    name: str
    entries: tuple[Entry, ...]
    origin: str
    extends: str | None = None


@dataclass(frozen=True, slots=True)
class SettingsFile:
    """A whole file: its own settings, its profiles, and the profile it asks for."""

    entries: tuple[Entry, ...] = ()
    profiles: tuple[ProfileText, ...] = ()
    profile: Entry | None = None


def nearest(name: str, known: Iterable[str]) -> str:
    """` (did you mean 'x'?)` or nothing."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f" (did you mean '{close[0]}'?)" if close else ""


def section_at(key: str, origin: str) -> type[BaseModel] | None:
    """The section that `key` names; None where it names a setting. Raises ConfigError where it names neither."""
    section: type[BaseModel] | None = Settings
    path: list[str] = []
    for name in key.split("."):
        if section is None:
            raise ConfigError(f"{origin}: '{'.'.join(path)}' is a setting, it has nothing inside (got '{key}')")
        known = children(section)
        if name not in known:
            place = f"in '{'.'.join(path)}'" if path else "at the top"
            unknown = ".".join([*path, name])
            raise ConfigError(
                f"{origin}: unknown key '{unknown}'{nearest(name, known)}. Known {place}: {', '.join(known)}"
            )
        section = known[name]
        path.append(name)
    return section


def check_key(key: str, origin: str) -> None:
    """Raise ConfigError unless `key` names a setting, or one that is gone."""
    if key in RETIRED:
        return
    section = section_at(key, origin)
    if section is not None:
        raise ConfigError(f"{origin}: '{key}' is a section; name a setting in it: {', '.join(children(section))}")


def read_settings_file(path: Path, shown: str) -> SettingsFile:
    """Read a settings file; `shown` is how messages call it. A missing file is an empty one."""
    root = _compose(path, shown)
    if root is None:
        return SettingsFile()
    entries: list[Entry] = []
    profiles: list[ProfileText] = []
    profile = None
    for name, key_node, node in _pairs(root, shown):
        origin = f"{shown}:{key_node.start_mark.line + 1}"
        if name == "profiles":
            profiles = [
                _profile(inner, inner_node, f"{shown}:{inner_key.start_mark.line + 1}", shown)
                for inner, inner_key, inner_node in _pairs(node, shown)
            ]
        elif name == "profile":
            profile = Entry("profile", _value(node), origin)
        else:
            entries += _flatten(name, node, origin, shown)
    return SettingsFile(tuple(entries), tuple(profiles), profile)


def read_profile_file(path: Path, shown: str) -> ProfileText:
    """Read one packaged profile: the whole file is its settings."""
    root = _compose(path, shown)
    if root is None:
        return ProfileText(path.stem, (), shown)
    return _profile(path.stem, root, shown, shown)


def read_environment(environment: Mapping[str, str]) -> list[Entry]:
    """`VORTEX__A__B=value` and the fixed names."""
    entries = []
    for name, text in sorted(environment.items()):
        if name in ENVIRONMENT_NAMES:
            key = ENVIRONMENT_NAMES[name]
        elif name.startswith(ENVIRONMENT_PREFIX):
            key = name.removeprefix(ENVIRONMENT_PREFIX).lower().replace("__", ".")
            check_key(key, name)
        else:
            continue
        entries.append(Entry(key, text if name == "KLIMEAI_API_TOKEN" else _parse(text, name), name))
    return entries


def read_assignments(assignments: Iterable[str]) -> list[Entry]:
    """`a.b=c` as given to `--set`."""
    entries = []
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        if not equals:
            raise ConfigError(f"--set: expected KEY=VALUE, got '{assignment}'")
        check_key(key.strip(), "--set")
        entries.append(Entry(key.strip(), _parse(text, "--set"), "--set"))
    return entries


def _profile(name: str, node: yaml.Node, origin: str, shown: str) -> ProfileText:
    entries: list[Entry] = []
    extends = None
    for key, key_node, inner in _pairs(node, shown):
        place = f"{shown}:{key_node.start_mark.line + 1}"
        if key == "extends":
            extends = str(_value(inner))
        else:
            entries += _flatten(key, inner, place, shown)
    return ProfileText(name, tuple(entries), origin, extends)


def _flatten(key: str, node: yaml.Node, origin: str, shown: str) -> list[Entry]:
    if isinstance(node, yaml.MappingNode) or (_is_empty(node) and section_at(key, origin) is not None):
        section_at(key, origin)
        entries: list[Entry] = []
        for name, key_node, inner in _pairs(node, shown):
            entries += _flatten(f"{key}.{name}", inner, f"{shown}:{key_node.start_mark.line + 1}", shown)
        return entries
    check_key(key, origin)
    try:
        return [Entry(key, _value(node), origin)]
    except yaml.YAMLError as error:
        raise ConfigError(
            f"{origin}: cannot read this value of '{key}'; write plain text, a number or a list"
        ) from error


def _is_empty(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and node.value == ""


def _compose(path: Path, shown: str) -> yaml.Node | None:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{shown}: cannot be read ({error})") from error
    try:
        return yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
        raise ConfigError(f"{shown}{line}: not valid YAML: {error.problem}") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{shown}: not valid YAML: {str(error).splitlines()[0]}") from error


def _pairs(node: yaml.Node, shown: str) -> list[tuple[str, yaml.Node, yaml.Node]]:
    if _is_empty(node):
        return []
    if not isinstance(node, yaml.MappingNode):
        raise ConfigError(f"{shown}:{node.start_mark.line + 1}: expected `key: value` lines here")
    seen: set[str] = set()
    for key, _ in node.value:
        if key.value in seen:
            raise ConfigError(f"{shown}:{key.start_mark.line + 1}: '{key.value}' is given twice; keep one")
        seen.add(key.value)
    return [(str(key.value), key, value) for key, value in node.value]


def _value(node: yaml.Node) -> object:
    loader = yaml.SafeLoader("")
    try:
        return loader.construct_object(node, deep=True)
    finally:
        loader.dispose()


def _parse(text: str, origin: str) -> object:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{origin}: cannot read the value '{text}'; quote it") from error
