"""A root of its own: an empty file system in memory that holds the granted paths and nothing else.

Runs in the first process of a new user, mount, pid, network, ipc, uts and cgroup namespace. Promises that nothing that
was not granted has a name inside, that granted-for-reading is mounted read-only, and that the root itself is read-only.
Source of the order (descriptors first, then the tree, then pivot_root): pivot_root(2), mount_namespaces(7).
"""

from __future__ import annotations

import _socket  # the module around it costs milliseconds and is not needed here
import fcntl
import os
import stat
import struct

from vortex.sandbox.launch import landlock, system
from vortex.sandbox.launch.plan import Plan

STAGE = "/tmp"
SHARED_MEMORY_BYTES = 64 << 20
SAFE = system.MS_NOSUID | system.MS_NODEV
MASKED = (
    "kcore",
    "kmsg",
    "keys",
    "key-users",
    "timer_list",
    "sysrq-trigger",
    "latency_stats",
    "sched_debug",
    "acpi",
    "scsi",
)
SIOCSIFFLAGS, IFF_UP, IFF_RUNNING = 0x8914, 1, 64
LEAST_PIDS = 301  # the kernel accepts no smaller pid_max


def enter(user: int, group: int) -> None:
    """New namespaces, in which this user is the same user and has every capability over nothing but them."""
    system.unshare(system.NAMESPACES)
    for name, text in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
        with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
            file.write(text)


def build_root(plan: Plan) -> None:
    """Make the new root, fill it, change into it, and let go of the old one."""
    system.mount(None, "/", None, system.MS_REC | system.MS_PRIVATE)
    kept = _open_granted(plan)
    system.mount("tmpfs", STAGE, "tmpfs", SAFE, "size=2m,mode=755")
    for folder, size in (("/tmp", min(plan.disk_bytes, plan.memory_bytes)), ("/dev/shm", SHARED_MEMORY_BYTES)):
        os.makedirs(STAGE + folder, exist_ok=True)
        system.mount("tmpfs", STAGE + folder, "tmpfs", SAFE, f"size={size},nr_inodes={plan.files},mode=700")
    for where, target in plan.aliases:
        if not os.path.lexists(STAGE + where):
            os.makedirs(os.path.dirname(STAGE + where), exist_ok=True)
            os.symlink(target, STAGE + where)
    for path in sorted(kept, key=lambda name: name.count("/")):
        _bind(path, kept[path], writable=path in plan.write)
    for path in plan.protect:
        _protect(path, plan.write)
    _hide(plan.hide)
    _own_files(plan)
    os.makedirs(STAGE + "/proc", exist_ok=True)
    system.mount("proc", STAGE + "/proc", "proc", SAFE | system.MS_NOEXEC)
    os.makedirs(STAGE + "/.old", exist_ok=True)
    os.chdir(STAGE)
    system.pivot_root(".", ".old")
    os.chdir("/")
    system.unmount("/.old")
    os.rmdir("/.old")
    system.mount(None, "/", None, system.MS_REMOUNT | system.MS_BIND | system.MS_RDONLY | SAFE)


def _open_granted(plan: Plan) -> dict[str, int]:
    """A descriptor for every granted path, taken before the tree changes: a path below /tmp is about to vanish."""
    kept = {}
    for path in [*plan.read, *plan.write, *landlock.DEVICES]:
        try:
            kept[path] = os.open(path, os.O_PATH | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            if path in plan.write:
                raise
    return kept


def _bind(path: str, descriptor: int, *, writable: bool) -> None:
    target = STAGE + path
    if stat.S_ISDIR(os.fstat(descriptor).st_mode):
        os.makedirs(target, exist_ok=True)
    else:
        os.makedirs(os.path.dirname(target), exist_ok=True)
        if not os.path.lexists(target):
            os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    system.mount(f"/proc/self/fd/{descriptor}", target, None, system.MS_BIND | system.MS_REC)
    if path in landlock.DEVICES:
        return
    _restrict_mount(target, 0 if writable else system.MS_RDONLY)


def _restrict_mount(target: str, flags: int) -> None:
    """Every mount at or below the target: a bind that took others along leaves their flags as they were."""
    below = target.rstrip("/") + "/"
    points = [target]
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        for line in file:
            point = line.split(" ")[4].encode(errors="surrogateescape").decode("unicode_escape")
            point = point.encode("latin-1", errors="surrogateescape").decode(errors="surrogateescape")
            if point.startswith(below):
                points.append(point)
    for point in points:
        system.mount(None, point, None, system.MS_REMOUNT | system.MS_BIND | SAFE | flags | _locked_flags(point))


def _locked_flags(point: str) -> int:
    """Flags that a mount from outside carries: a user namespace may not clear them."""
    flags = os.statvfs(point).f_flag
    kept = 0
    for has, keep in ((os.ST_NOEXEC, system.MS_NOEXEC), (os.ST_RDONLY, system.MS_RDONLY)):
        kept |= keep if flags & has else 0
    for has, keep in ((os.ST_NOATIME, 1024), (os.ST_NODIRATIME, 2048), (os.ST_RELATIME, 1 << 21)):
        kept |= keep if flags & has else 0
    return kept


def _protect(path: str, writable: list[str]) -> None:
    """Read-only beneath a writable folder. Its parents become mount points too, so that none can be renamed away."""
    root = max((folder for folder in writable if path.startswith(folder + "/")), key=len)
    parts = os.path.relpath(path, root).split("/")
    for depth in range(1, len(parts) + 1):
        target = STAGE + "/".join([root, *parts[:depth]])
        if depth < len(parts) or os.path.lexists(target):
            system.mount(target, target, None, system.MS_BIND)
            flags = system.MS_RDONLY if depth == len(parts) else 0
            system.mount(None, target, None, system.MS_REMOUNT | system.MS_BIND | SAFE | flags | _locked_flags(target))


def _hide(paths: list[str]) -> None:
    if not paths:
        return
    os.makedirs(STAGE + "/.nothing", exist_ok=True)
    os.close(os.open(STAGE + "/.empty", os.O_WRONLY | os.O_CREAT, 0o400))
    for path in paths:
        target = STAGE + path
        source = STAGE + ("/.nothing" if os.path.isdir(target) else "/.empty")
        system.mount(source, target, None, system.MS_BIND)
        system.mount(None, target, None, system.MS_REMOUNT | system.MS_BIND | SAFE | system.MS_RDONLY)


def _own_files(plan: Plan) -> None:
    """The few files of /etc that programs cannot do without, with nothing of this machine in them."""
    os.makedirs(STAGE + "/etc", exist_ok=True)
    user, group = os.getuid(), os.getgid()
    for name, text in (
        ("passwd", f"user:x:{user}:{group}::{plan.temporary}:/bin/sh\n"),
        ("group", f"user:x:{group}:\n"),
        ("hosts", "127.0.0.1 localhost\n::1 localhost\n"),
    ):
        if not os.path.lexists(f"{STAGE}/etc/{name}"):
            with open(f"{STAGE}/etc/{name}", "w", encoding="ascii") as file:
                file.write(text)


def settle(plan: Plan) -> list[str]:
    """Inside the new root: loopback up, few process numbers, a read-only /proc. Returns what was granted."""
    granted = []
    try:
        device = _socket.socket(_socket.AF_INET, _socket.SOCK_DGRAM)
        fcntl.ioctl(device.fileno(), SIOCSIFFLAGS, struct.pack("16sh22x", b"lo", IFF_UP | IFF_RUNNING))
        device.close()
    except OSError:
        granted.append("no loopback")
    if _kernel() >= (6, 14):  # before that, pid_max belonged to the whole machine
        try:
            with open("/proc/sys/kernel/pid_max", "w", encoding="ascii") as file:
                file.write(str(max(LEAST_PIDS, plan.processes + 16)))
            granted.append("pid_max")
        except OSError:
            granted.append("no pid_max")
    for name in MASKED:
        target = f"/proc/{name}"
        if os.path.isdir(target):
            system.mount("tmpfs", target, "tmpfs", SAFE | system.MS_RDONLY, "size=4k,mode=000")
        elif os.path.exists(target):
            system.mount("/dev/null", target, None, system.MS_BIND)
    system.mount(None, "/proc", None, system.MS_REMOUNT | system.MS_BIND | SAFE | system.MS_NOEXEC | system.MS_RDONLY)
    return granted


def _kernel() -> tuple[int, int]:
    first, second = os.uname().release.split(".")[:2]
    return int(first), int("".join(character for character in second if character.isdigit()) or 0)
