"""What a command may do. Everything that is not granted is denied.

Promises that a policy that contradicts itself, or grants what would make the walls pointless (the root, the home
folder, system folders for writing), is refused with one line that names the fix, before anything runs.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Literal

from vortex.errors import ConfigError
from vortex.sandbox.launch.plan import PROXY_PORT

SYSTEM_PATHS = tuple(
    Path(name)
    for name in (
        "/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/etc/ld.so.cache", "/etc/ld.so.conf",
        "/etc/ld.so.conf.d", "/etc/localtime", "/etc/alternatives", "/nix/store",
    )
)  # fmt: skip
NEVER_WRITABLE = (
    "/",
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib64",
    "/etc",
    "/proc",
    "/sys",
    "/dev",
    "/run",
    "/boot",
    "/var",
)
NEVER_GRANTED = ("/", "/proc", "/sys", "/dev")
PASSED_ENVIRONMENT = ("PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TERM")
MIB = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Policy:
    """Paths may be relative to the current folder; sizes are bytes.

    `folder` is where the command starts; it is writable unless `folder_writable` is False. `protect` names paths
    beneath a writable one that stay read-only, `hide` paths beneath a granted one that look empty: a tier that cannot
    hold that refuses. `environment` is set as given; of the caller's own, only the names in
    `pass_environment` are seen.
    `network` is "none", or "proxy": a proxy on loopback that lets HTTP(S) out to `domains` alone.
    """

    folder: Path
    folder_writable: bool = True
    read: tuple[Path, ...] = ()
    write: tuple[Path, ...] = ()
    protect: tuple[Path, ...] = ()
    hide: tuple[Path, ...] = ()
    system: tuple[Path, ...] = SYSTEM_PATHS
    environment: Mapping[str, str] = field(default_factory=dict)
    pass_environment: tuple[str, ...] = PASSED_ENVIRONMENT
    network: Literal["none", "proxy"] = "none"
    domains: tuple[str, ...] = ()
    time_s: float = 60.0
    memory_bytes: int = 1024 * MIB
    processes: int = 64
    file_bytes: int = 256 * MIB
    disk_bytes: int = 512 * MIB
    files: int = 20_000
    open_files: int = 256
    output_bytes: int = MIB  # kept of each of stdout and stderr; a run that writes 64 times as much is ended
    control_group: bool = True  # False: rlimits and the watcher count, even where a control group could
    unix_sockets: bool = False  # also reaches a socket that somebody outside left in a granted folder

    def checked(self) -> Grants:
        """The policy with every path resolved. Raises ConfigError where it contradicts itself."""
        for name in ("time_s", "memory_bytes", "processes", "file_bytes", "disk_bytes", "files", "open_files"):
            if getattr(self, name) <= 0:
                raise ConfigError(f"sandbox: {name} must be above zero, not {getattr(self, name)}")
        if self.domains and self.network == "none":
            raise ConfigError('sandbox: domains without network="proxy"; set the network or drop the domains')
        writable = ([self.folder] if self.folder_writable else []) + list(self.write)
        readable = list(self.read) + ([] if self.folder_writable else [self.folder])
        write = [_granted(path, writing=True) for path in writable]
        read = [_granted(path, writing=False) for path in readable]
        both = set(write) & set(read)
        if both:
            raise ConfigError(f"sandbox: {min(both)!r} is granted for reading and for writing; name it once")
        protect = [_resolved(path) for path in self.protect]
        for path in protect:
            if not any(path.startswith(folder + "/") for folder in write):
                raise ConfigError(f"sandbox: {path!r} is to be protected but lies in no writable folder; drop it")
            if not os.path.lexists(path):
                raise ConfigError(f"sandbox: {path!r} is to be protected but is not there; make it first or drop it")
        hide = [_resolved(path) for path in self.hide]
        for path in hide:
            if not any(path.startswith(folder + "/") for folder in [*write, *read]):
                raise ConfigError(f"sandbox: {path!r} is to be hidden but lies in no granted folder; drop it")
        folder = _resolved(self.folder)
        if not Path(folder).is_dir():
            raise ConfigError(f"sandbox: the working folder {folder!r} does not exist; make it or name another")
        system = [os.path.realpath(path) for path in self.system if os.path.exists(path)]
        aliases = _aliases([*self.system, *self.read, *self.write])
        kept = [path for path in dict.fromkeys([*system, *read]) if path not in write]
        return Grants(
            folder, kept, list(dict.fromkeys(write)), protect, [p for p in hide if os.path.lexists(p)], aliases
        )

    def environment_inside(self, temporary: str) -> dict[str, str]:
        """Exactly what the command will see."""
        seen = {name: os.environ[name] for name in self.pass_environment if name in os.environ}
        seen.setdefault("PATH", "/usr/local/bin:/usr/bin:/bin")
        seen |= {"HOME": temporary, "TMPDIR": temporary, "PYTHONDONTWRITEBYTECODE": "1"}
        if self.network == "none":
            seen["C3RNT2_NO_NET"] = "1"
        else:
            address = f"http://127.0.0.1:{PROXY_PORT}"
            seen |= {"http_proxy": address, "https_proxy": address, "HTTP_PROXY": address, "HTTPS_PROXY": address}
        return seen | dict(self.environment)

    def summary(self) -> dict[str, object]:
        """What was granted, for the log: names of variables and no values, since a value can be a secret."""
        found: dict[str, object] = {}
        for item in fields(self):
            value = getattr(self, item.name)
            if item.name == "environment":
                found[item.name] = sorted(value)
            elif item.name != "system":
                found[item.name] = [str(one) for one in value] if isinstance(value, tuple) else value
        return found | {"folder": str(self.folder)}


@dataclass(frozen=True)
class Grants:
    """A policy's paths, absolute and free of links; `aliases` are links that lead to them."""

    folder: str
    read: list[str]
    write: list[str]
    protect: list[str]
    hide: list[str]
    aliases: list[list[str]]


def python_paths() -> tuple[Path, ...]:
    """What a command needs to read to run this very Python with its packages."""
    bases = [Path(sys.prefix), Path(sys.base_prefix)]
    packages = [Path(name) for name in sys.path if name.endswith(("site-packages", "dist-packages"))]
    found: list[Path] = []
    for path in [*bases, *packages]:
        inside = any(path.is_relative_to(other) for other in [*found, *SYSTEM_PATHS])
        if path.is_dir() and not inside:
            found.append(path)
    return tuple(found)


def _resolved(path: Path) -> str:
    text = os.path.realpath(path)
    if "\0" in text:
        raise ConfigError("sandbox: a path with a zero byte; name another")
    return text


def _granted(path: Path, *, writing: bool) -> str:
    text = _resolved(path)
    if not os.path.exists(text):
        raise ConfigError(f"sandbox: {text!r} does not exist; make it first or drop it")
    home = os.path.realpath(Path.home())
    if text in NEVER_GRANTED or text == "/tmp" or text.startswith(("/proc/", "/sys/", "/dev/")):
        raise ConfigError(f"sandbox: {text!r} cannot be granted; name the folder below it that is needed")
    if text == home or home.startswith(text + "/"):
        raise ConfigError(f"sandbox: {text!r} holds your home folder and its secrets; name a project folder")
    if writing and text in NEVER_WRITABLE:
        raise ConfigError(f"sandbox: {text!r} cannot be writable; name a folder of your own")
    return text


def _aliases(paths: list[Path]) -> list[list[str]]:
    """Links met on the way to each path, so that the name a caller knows leads there inside too."""
    found: dict[str, str] = {}
    for path in paths:
        waiting = list(Path(os.path.abspath(path)).parts[1:])
        here = "/"
        steps = 0
        while waiting and steps < 100:
            steps += 1
            step = os.path.join(here, waiting.pop(0))
            if os.path.islink(step):
                target = os.readlink(step)
                found[step] = target
                rest = os.path.normpath(os.path.join(here, target))
                waiting = [*Path(rest).parts[1:], *waiting]
                here = "/"
            else:
                here = step
    return [[where, target] for where, target in found.items()]
