"""Landlock: which files this process and all its children may open, whatever the mount table says.

Landlock only adds rights beneath paths and denies the rest; it does not see `stat`, `chmod`, `chown`, `utime` or
attributes. Source: the kernel's Documentation/userspace-api/landlock.rst, ABI 1 to 7.
"""

from __future__ import annotations

import ctypes
import os
import stat
import struct

from vortex.sandbox.launch import system

CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
MAKE_CHAR, MAKE_BLOCK, REFER, TRUNCATE, IOCTL_DEV = 1 << 6, 1 << 11, 1 << 13, 1 << 14, 1 << 15
READ = EXECUTE | READ_FILE | READ_DIR
ON_FILES = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV
DEVICE = WRITE_FILE | READ_FILE | TRUNCATE
DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/urandom", "/dev/random")


def abi() -> int:
    """The kernel's Landlock version, 0 where there is none."""
    return max(0, int(system.libc.syscall(ctypes.c_long(CREATE_RULESET), None, ctypes.c_size_t(0), ctypes.c_uint(1))))


def handled(version: int) -> int:
    rights = (1 << 13) - 1
    for since, right in ((2, REFER), (3, TRUNCATE), (5, IOCTL_DEV)):
        rights |= right if version >= since else 0
    return rights


def restrict(read: list[str], write: list[str], list_only: list[str], *, tcp: bool) -> int:
    """Confine this process from now on. `tcp` False also takes TCP bind and connect away. The ABI version is returned.

    Paths that do not exist are skipped: what is not there needs no right.
    """
    version = abi()
    if version < 1:
        raise OSError("this kernel has no Landlock")
    rights = handled(version)
    network = 3 if version >= 4 and not tcp else 0
    scopes = 3 if version >= 6 else 0  # abstract sockets and signals stay within
    attributes = struct.pack("QQQ", rights, network, scopes)
    size = 24 if version >= 6 else 16 if version >= 4 else 8
    ruleset = system.syscall("Landlock ruleset", CREATE_RULESET, ctypes.c_char_p(attributes), size, 0)
    everything = rights & ~(MAKE_CHAR | MAKE_BLOCK | IOCTL_DEV)
    for paths, access in ((read, READ), (write, everything), (list(DEVICES), DEVICE), (list_only, READ_DIR)):
        for path in paths:
            _allow(ruleset, path, access & rights)
    system.prctl("no_new_privs", system.PR_SET_NO_NEW_PRIVS, 1)
    system.syscall("Landlock restrict", RESTRICT_SELF, ruleset, 0)
    os.close(ruleset)
    return version


def _allow(ruleset: int, path: str, access: int) -> None:
    try:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return
    try:
        if not stat.S_ISDIR(os.fstat(descriptor).st_mode):
            access &= ON_FILES
        if access:
            rule = struct.pack("<Qi", access, descriptor)
            system.syscall(f"Landlock rule {path}", ADD_RULE, ruleset, 1, ctypes.c_char_p(rule), 0)
    finally:
        os.close(descriptor)
