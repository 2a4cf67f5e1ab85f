"""What one run may do, as plain values that cross from the caller to the supervisor as one line of JSON.

Promises nothing about sense: `vortex.sandbox.policy` has checked and resolved everything before a plan is written.
"""

from __future__ import annotations

import json

PROXY_PORT = 3128  # on the loopback of the run's own network namespace
TIERS = ("namespaces", "bubblewrap", "landlock")


class Plan:
    """One run. Paths are absolute and free of symbolic links; sizes are bytes, times seconds."""

    tier: str
    command: list[str]
    folder: str
    environment: dict[str, str]
    read: list[str]
    write: list[str]
    protect: list[str]  # beneath a writable path, yet read-only
    hide: list[str]  # beneath a granted path, yet empty
    aliases: list[list[str]]  # symbolic links that lead to granted paths: [where, target]
    temporary: str  # the private folder for temporary files; a tmpfs inside where there is a mount namespace
    time_s: float
    memory_bytes: int
    processes: int
    file_bytes: int
    disk_bytes: int
    files: int
    open_files: int
    unix_sockets: bool
    control_group: bool
    umask: int  # the caller's own
    proxy: bool  # a filtering proxy listens on loopback inside
    proxy_domains: list[str]
    descriptors: list[int]  # stdin, stdout, stderr of the command, then the report
    launcher: str  # the folder that holds this package, for the second stage inside bubblewrap
    interpreter: str
    interpreter_home: str
    parent: int

    def __init__(self, fields: dict[str, object]) -> None:
        self.__dict__.update(fields)

    def to_line(self) -> bytes:
        return json.dumps(self.__dict__, separators=(",", ":")).encode() + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> Plan:
        return cls(json.loads(line))
