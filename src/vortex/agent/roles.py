"""Roles: who may change which paths, from a YAML policy; and the line `Rol: …` that declares one in a prompt.

A repository with a policy of its own (`antigravity/roles.yaml`, `.antigravity/roles.yaml`) requires a role for every
change. Its policy can give paths to roles, and no more: protected paths stay protected. Elsewhere the three roles of
the packaged policy may be used, and need not be.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vortex.errors import ConfigError

PACKAGED = Path(__file__).parent / "data" / "roles.yaml"
OWN_POLICIES = ("antigravity/roles.yaml", ".antigravity/roles.yaml")
MAX_POLICY_BYTES = 64 << 10
DECLARED = re.compile(r"""\s*["'“]?\s*(?:rol|role)\s*:\s*["'“]?([^"'”\n]+?)["'”]?\s*(?:\n|$)""", re.IGNORECASE)
TASK = re.compile(r"""\s*["'“]?\s*(?:tarea|task)\s*:\s*""", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Role:
    """paths: files, or folders with a slash at their end."""

    name: str
    paths: tuple[str, ...]
    about: str = ""

    def owns(self, path: str) -> bool:
        return any(path == one or (one.endswith("/") and path.startswith(one)) for one in self.paths)


@dataclass(frozen=True, slots=True)
class RolePolicy:
    """required: nothing may be changed without a role, since the repository has a policy of its own."""

    roles: tuple[Role, ...]
    evidence_log: str
    required: bool
    origin: str

    def role(self, name: str) -> Role:
        """By its name, in any case. Raises ConfigError with the names there are."""
        for role in self.roles:
            if role.name.casefold() == " ".join(name.split()).casefold():
                return role
        names = ", ".join(f"'{role.name}'" for role in self.roles)
        raise ConfigError(f"there is no role '{name}' in {self.origin}; choose one of {names}")


def role_policy(folder: Path) -> RolePolicy:
    """The folder's own policy, else the packaged one. Raises ConfigError for one that cannot be read."""
    for name in OWN_POLICIES:
        path = folder / name
        if path.is_file():
            return _read(path, name, required=True)
    return _read(PACKAGED, "the packaged policy", required=False)


def declared(prompt: str) -> tuple[str | None, str]:
    """A role that the prompt's first line declares (`Rol: …`, `Role: …`), and the task behind it."""
    found = DECLARED.match(prompt)
    if found is None:
        return None, prompt.strip()
    rest = prompt[found.end() :]
    return found.group(1).strip(), TASK.sub("", rest, count=1).strip(" \t\n\"'”")


def _read(path: Path, origin: str, *, required: bool) -> RolePolicy:
    import yaml

    if path.is_symlink() or path.stat().st_size > MAX_POLICY_BYTES:
        raise ConfigError(f"{origin} is a link or too large; write a plain file of roles")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        roles = tuple(_role(entry) for entry in content["roles"])
        log = str(content.get("evidence_log", "docs/evidence_log.md"))
    except (yaml.YAMLError, UnicodeDecodeError, KeyError, TypeError, AttributeError, ValueError) as error:
        why = " ".join(str(error).split())
        raise ConfigError(f"{origin} cannot be read ({why}); it needs roles with name and paths") from None
    if not roles:
        raise ConfigError(f"{origin} has no roles; write at least one, with name and paths")
    if ".." in log.split("/") or log.startswith("/") or not log.endswith(".md"):
        raise ConfigError(f"{origin}: evidence_log must be a .md file inside the repository")
    return RolePolicy(roles, log, required, origin)


def _role(entry: Mapping[str, Any]) -> Role:
    paths = tuple(str(path) for path in entry["paths"])
    if any(path.startswith("/") or ".." in path.split("/") for path in paths):
        raise ValueError(f"role {entry['name']}: paths stay inside the repository")
    return Role(" ".join(str(entry["name"]).split()), paths, str(entry.get("about", "")))
