"""System calls that Python does not wrap, by ctypes.

Every call raises OSError with the kernel's reason. Numbers are for x86-64 and 64-bit ARM; another machine has none and
is refused. Does not decide anything.
"""

from __future__ import annotations

import ctypes
import errno
import os

CLONE_NEWNS, CLONE_NEWCGROUP, CLONE_NEWUTS = 0x20000, 0x2000000, 0x4000000
CLONE_NEWIPC, CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = 0x8000000, 0x10000000, 0x20000000, 0x40000000
CLONE_NEWTIME = 0x80
NAMESPACES = CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT = 1, 2, 4, 8, 32
MS_BIND, MS_REC, MS_PRIVATE = 4096, 16384, 1 << 18
MNT_DETACH = 2
PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_SECCOMP, PR_CAPBSET_DROP = 1, 4, 22, 24
PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL = 36, 38, 47, 4
PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
CAPSET = {"x86_64": 126, "aarch64": 91}
CAPABILITY_VERSION_3 = 0x20080522

libc = ctypes.CDLL(None, use_errno=True)


def machine() -> str:
    name = os.uname().machine
    if name not in PIVOT_ROOT:
        raise OSError(errno.ENOSYS, f"no system call table for {name}")
    return name


def check(result: int, what: str) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")
    return result


def syscall(what: str, number: int, *arguments: object) -> int:
    """One raw system call; integers are passed as C longs."""
    passed = [ctypes.c_long(value) if isinstance(value, int) else value for value in arguments]
    return check(libc.syscall(ctypes.c_long(number), *passed), what)


def prctl(what: str, option: int, value: int = 0, third: object = 0) -> int:
    return check(libc.prctl(option, ctypes.c_ulong(value), third, 0, 0), what)


def mount(source: str | None, target: str, kind: str | None, flags: int, data: str | None = None) -> None:
    encoded = [text.encode(errors="surrogateescape") if text is not None else None for text in (source, target, kind)]
    options = data.encode() if data else None
    check(libc.mount(encoded[0], encoded[1], encoded[2], ctypes.c_ulong(flags), options), f"mount {target}")


def unmount(target: str) -> None:
    check(libc.umount2(target.encode(), MNT_DETACH), f"umount {target}")


def unshare(flags: int) -> None:
    check(libc.unshare(flags), "unshare")


def pivot_root(new: str, old: str) -> None:
    syscall("pivot_root", PIVOT_ROOT[machine()], ctypes.c_char_p(new.encode()), ctypes.c_char_p(old.encode()))


def die_with_parent(signal_number: int, parent: int) -> None:
    """Ask for a signal when the parent ends; if it has already ended, end now."""
    prctl("die with parent", PR_SET_PDEATHSIG, signal_number)
    if parent and os.getppid() != parent:
        os._exit(125)


def drop_capabilities() -> None:
    """Out of the bounding, ambient, permitted, effective and inheritable sets, and none can come back by exec."""
    prctl("no_new_privs", PR_SET_NO_NEW_PRIVS, 1)
    for capability in range(64):
        if libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) < 0:
            break  # past the last that this kernel knows, or no right to drop: capset below empties the rest
    libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
    header = CAPABILITY_VERSION_3.to_bytes(4, "little") + bytes(4)
    syscall("capset", CAPSET[machine()], ctypes.c_char_p(header), ctypes.c_char_p(bytes(24)))
