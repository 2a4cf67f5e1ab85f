"""Where the API key comes from, and the one drawn for a server that others can reach.

On a loopback address no key is needed. On any other, a server without a key would be open to the whole network: one is
drawn, kept in a file that only its owner reads, and printed once; `--insecure` does without.
"""

from __future__ import annotations

import ipaddress
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from vortex.errors import ConfigError


@dataclass(frozen=True, slots=True)
class ApiKey:
    """`drawn_to`: the file a newly drawn key was put into; None for a key that was there before."""

    value: str | None
    drawn_to: Path | None = None


def is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def read_key_file(path: Path) -> str:
    """The first line. ConfigError where the file is missing, empty or readable by others."""
    try:
        key = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"the API key file {path} cannot be read: {error}") from error
    if not key or "\n" in key:
        raise ConfigError(f"the API key file {path} must hold one line: the key")
    if os.name != "nt" and path.stat().st_mode & 0o077:
        raise ConfigError(f"the API key file {path} can be read by others; run: chmod 600 {path}")
    return key


def key_for(host: str, given: str | None, drawn_file: Path, *, insecure: bool) -> ApiKey:
    """The key to ask clients for: the given one; none on loopback; else the one in `drawn_file`, drawn if need be."""
    if given:
        return ApiKey(given)
    if insecure or is_loopback(host):
        return ApiKey(None)
    if drawn_file.exists():
        return ApiKey(read_key_file(drawn_file))
    key = "vx-" + secrets.token_urlsafe(32)
    drawn_file.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(drawn_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(key + "\n")
    return ApiKey(key, drawn_file)
