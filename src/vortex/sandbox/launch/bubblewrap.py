"""The command line of bubblewrap that builds the same root as namespaces.py.

bubblewrap is used where a distribution lets it, and not every program, make user namespaces. It starts our second
stage, which adds Landlock, the system call filter and rlimits: alone it leaves io_uring, keyrings, bpf, userfaultfd and
new namespaces open.
"""

from __future__ import annotations

import os

from vortex.sandbox.launch.landlock import DEVICES
from vortex.sandbox.launch.namespaces import MASKED
from vortex.sandbox.launch.plan import Plan

PROGRAM = "/usr/bin/bwrap"


def arguments(plan: Plan, plan_descriptor: int) -> list[str]:
    line = [PROGRAM, "--unshare-all", "--die-with-parent", "--new-session", "--clearenv", "--hostname", "sandbox"]
    for name, size in (("/tmp", min(plan.disk_bytes, plan.memory_bytes)), ("/dev/shm", 64 << 20)):
        line += ["--size", str(size), "--tmpfs", name]
    for where, target in plan.aliases:
        line += ["--symlink", target, where]
    # The second stage needs an interpreter and its own files; Landlock takes them away again before the command runs.
    read = [*plan.read, plan.launcher, plan.interpreter_home]
    granted = [(path, "--bind") for path in plan.write] + [(path, "--ro-bind") for path in read]
    for path, option in sorted(granted, key=lambda pair: pair[0].count("/")):
        if os.path.exists(path):
            line += [option, path, path]
    for path in DEVICES:
        line += ["--dev-bind", path, path]
    for path in plan.protect:
        root = max((folder for folder in plan.write if path.startswith(folder + "/")), key=len)
        parts = os.path.relpath(path, root).split("/")
        for depth in range(1, len(parts)):
            parent = "/".join([root, *parts[:depth]])
            line += ["--bind", parent, parent]
        if os.path.lexists(path):
            line += ["--ro-bind", path, path]
    for path in plan.hide:
        line += ["--tmpfs", path, "--remount-ro", path] if os.path.isdir(path) else ["--ro-bind", "/dev/null", path]
    line += ["--proc", "/proc"]
    for name in MASKED:
        if os.path.exists(f"/proc/{name}"):
            masking = ["--tmpfs"] if os.path.isdir(f"/proc/{name}") else ["--ro-bind", "/dev/null"]
            line += [*masking, f"/proc/{name}"]
    line += ["--remount-ro", "/proc", "--remount-ro", "/", "--chdir", plan.folder, "--"]
    return [*line, plan.interpreter, "-I", "-S", "-B", "-c", second_stage_code(plan.launcher), str(plan_descriptor)]


def second_stage_code(launcher: str) -> str:
    return (
        bootstrap(launcher) + "from vortex.sandbox.launch.command import second_stage\nsecond_stage(int(sys.argv[1]))\n"
    )


def bootstrap(launcher: str) -> str:
    """The first lines of a stage: this folder's modules under their own names, their parent packages left unread."""
    return (
        "import sys\n"
        "package = type(sys)\n"
        f"for name, path in (('vortex', []), ('vortex.sandbox', []), ('vortex.sandbox.launch', [{launcher!r}])):\n"
        "    module = package(name)\n"
        "    module.__path__ = path\n"
        "    sys.modules[name] = module\n"
    )
