"""One attempt: a program, what it may be given, and how it is judged.

The program prints ESCAPED when it got what it wanted, and is held when it ends otherwise. It sees `world` (addresses of
the outside world), `call` (a raw system call by name) and the standard library.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

PRELUDE = """
import ctypes, errno, json, os, signal, socket, struct, sys, threading, time
world = json.loads(sys.argv[1])
libc = ctypes.CDLL(None, use_errno=True)
def checked(result):
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result
def call(name, *arguments):
    passed = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    return checked(libc.syscall(ctypes.c_long(world["calls"][name]), *passed))
def escaped(what=""):
    print("ESCAPED", what, flush=True)
    os._exit(0)
def read(path):
    with open(path) as file:
        return file.read()
def steal(path):
    if world["token"] in read(path):
        escaped("read " + path)
def each(steps):
    for step in steps:
        try:
            step()
        except OSError as error:
            print("held:", error)
try:
"""
CODA = """
except (OSError, MemoryError, RuntimeError) as error:
    print("held:", error)
"""


@dataclass(frozen=True)
class Attempt:
    """`control`: also run without walls, where it must succeed. `long`: takes seconds, because a limit must be met.

    `policy` changes the limits of the run. `ends` names the limits that may end the run (empty: any or none).
    """

    name: str
    kind: str
    code: str
    control: bool = False
    long: bool = False
    policy: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    ends: tuple[str, ...] = ()

    def program(self) -> str:
        return PRELUDE + textwrap.indent(textwrap.dedent(self.code).strip("\n"), "    ") + CODA
