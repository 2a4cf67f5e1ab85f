"""What one run may do, as plain values that cross from the caller to the supervisor as one message.

Promises nothing about sense: `vortex.sandbox.policy` has checked and resolved everything before a plan is written.
"""

from __future__ import annotations

from vortex.sandbox.launch import values

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

    def to_message(self) -> bytes:
        """Its length in one line, then the plan: the pipe it comes through stays open behind it."""
        body = values.encode(self.__dict__)
        return b"%d\n%s" % (len(body), body)

    @classmethod
    def from_message(cls, message: bytes) -> Plan:
        """Raises ValueError where the message is none, or not whole."""
        length, _, body = message.partition(b"\n")
        fields = values.decode(body[: int(length)])
        if not isinstance(fields, dict):
            raise ValueError("a plan is a dictionary")
        return cls(fields)

    @staticmethod
    def is_whole(message: bytes) -> bool:
        length, found, body = message.partition(b"\n")
        return bool(found) and len(body) >= int(length)
