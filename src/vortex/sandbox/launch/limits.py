"""Limits that the kernel counts: by process (rlimits) and, where a control group can be made, for the run as a whole.

RLIMIT_DATA and not RLIMIT_AS bounds memory: programs reserve address space that they never touch. `Group` uses cgroup
v2 where the user's session was delegated one, v1 where it is writable, and says which; else the watcher counts.
"""

from __future__ import annotations

import os
import resource
import time

from vortex.sandbox.launch.plan import Plan

ROOT = "/sys/fs/cgroup"


def user_tasks() -> int:
    """Threads that this user already has: RLIMIT_NPROC counts them all where there is no user namespace."""
    user, total = os.getuid(), 0
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                if os.stat(f"/proc/{name}").st_uid == user:
                    total += len(os.listdir(f"/proc/{name}/task"))
            except OSError:
                continue  # it ended meanwhile
    return total


def apply_rlimits(plan: Plan, *, own_user_namespace: bool) -> None:
    processes = plan.processes + (8 if own_user_namespace else user_tasks())
    seconds = int(plan.time_s) + 1
    for name, value in (
        (resource.RLIMIT_DATA, plan.memory_bytes),
        (resource.RLIMIT_FSIZE, plan.file_bytes),
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_NOFILE, plan.open_files),
        (resource.RLIMIT_NPROC, processes),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_MEMLOCK, 0),
        (resource.RLIMIT_MSGQUEUE, 0),
        (resource.RLIMIT_RTPRIO, 0),
        (resource.RLIMIT_SIGPENDING, 1024),
    ):
        hard = resource.getrlimit(name)[1]
        limit = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(name, (limit, limit))


class Group:
    """A control group of one run. `kind` is "cgroup v2", "cgroup v1", or "" where none can be made."""

    def __init__(self, plan: Plan, extra_processes: int) -> None:
        self.folders: list[str] = []
        self.kind = ""
        self.counts_memory = self.counts_processes = False
        self._name = f"vortex-sandbox-{os.getpid()}-{time.monotonic_ns() & 0xFFFFFF:x}"
        if not plan.control_group:
            return
        own = _own_groups()
        try:
            if not self._make_v2(own.get("", "/"), plan, extra_processes):
                self._make_v1(own, plan, extra_processes)
        except OSError:
            self.remove()
            self.folders, self.kind = [], ""
            self.counts_memory = self.counts_processes = False

    def _make_v2(self, own: str, plan: Plan, extra: int) -> bool:
        if not os.path.exists(f"{ROOT}/cgroup.controllers"):
            return False
        parent = ROOT + (os.path.dirname(own) if own != "/" else "")
        if not os.access(f"{parent}/cgroup.procs", os.W_OK) or not os.access(parent, os.W_OK):
            return False
        if not {"memory", "pids"} <= set(_read(f"{parent}/cgroup.subtree_control").split()):
            return False
        folder = f"{parent}/{self._name}"
        os.mkdir(folder)
        self.folders.append(folder)
        _write(f"{folder}/memory.max", plan.memory_bytes)
        if os.path.exists(f"{folder}/memory.swap.max"):
            _write(f"{folder}/memory.swap.max", 0)
        _write(f"{folder}/pids.max", plan.processes + extra)
        self.kind, self.counts_memory, self.counts_processes = "cgroup v2", True, True
        return True

    def _make_v1(self, own: dict[str, str], plan: Plan, extra: int) -> None:
        for controller, name, value in (
            ("memory", "memory.limit_in_bytes", plan.memory_bytes),
            ("pids", "pids.max", plan.processes + extra),
        ):
            parent = f"{ROOT}/{controller}{own.get(controller, '/').rstrip('/')}"
            if controller not in own or not os.access(parent, os.W_OK):
                continue
            folder = f"{parent}/{self._name}"
            os.mkdir(folder)
            self.folders.append(folder)
            _write(f"{folder}/{name}", value)
            if controller == "memory":
                swap = f"{folder}/memory.memsw.limit_in_bytes"
                if os.path.exists(swap):
                    _write(swap, value)
                self.counts_memory = True
            else:
                self.counts_processes = True
            self.kind = "cgroup v1"

    def notes(self) -> list[str]:
        counted = (("memory", self.counts_memory), ("processes", self.counts_processes))
        return [f"{what} counted by {self.kind if by_group else 'rlimits and watcher'}" for what, by_group in counted]

    def join(self) -> None:
        """Move this process, and so all it will start, into the group."""
        for folder in self.folders:
            _write(f"{folder}/cgroup.procs", os.getpid())

    def out_of_memory(self) -> bool:
        for folder in self.folders:
            for name in ("memory.events", "memory.oom_control"):
                for line in _read(f"{folder}/{name}").splitlines():
                    key, _, value = line.partition(" ")
                    if key == "oom_kill" and int(value) > 0:
                        return True
        return False

    def remove(self) -> None:
        """Take the group away; its processes have ended, but the kernel may take a moment to forget them."""
        for folder in self.folders:
            for _attempt in range(50):
                try:
                    os.rmdir(folder)
                    break
                except FileNotFoundError:
                    break
                except OSError:
                    time.sleep(0.002)


def _own_groups() -> dict[str, str]:
    """Controller to path of this process's group; the empty name is cgroup v2's."""
    groups = {}
    for line in _read("/proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        for controller in controllers.split(","):
            groups[controller] = path
    return groups


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except OSError:
        return ""


def _write(path: str, value: int) -> None:
    with open(path, "w", encoding="ascii") as file:
        file.write(str(value))
