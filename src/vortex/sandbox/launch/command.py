"""The last steps before the command: rlimits, no capabilities, Landlock, the system call filter, then exec.

Fails closed: a step that the tier promises and the kernel refuses is reported on the status pipe as `REFUSED`, and the
command never runs. What was granted is reported as `GOT`.
"""

from __future__ import annotations

import errno
import fcntl
import os

from vortex.sandbox.launch import landlock, limits, namespaces, seccomp, system
from vortex.sandbox.launch.plan import PROXY_PORT as PORT
from vortex.sandbox.launch.plan import Plan

TYPE_CHECKING = False  # typing, and the module around _signal, would each cost a tenth of the start-up
if TYPE_CHECKING:
    import signal
    from collections.abc import Callable
else:
    import _signal as signal

STATUS = 3  # the descriptor of the status pipe in every process before the command
CONTROL = 4  # where there is a proxy: the socket by which its listening end is handed to the supervisor
INFRASTRUCTURE = {"namespaces": 2, "bubblewrap": 4, "landlock": 0}  # processes of ours beside the command
LEAST_LANDLOCK_ALONE = 3  # before that, a file could be truncated that cannot be written


def tell(line: str) -> None:
    os.write(STATUS, (line.replace("\n", " ") + "\n").encode(errors="replace"))


def keep_only_standard(plan: Plan, status: int, control: int) -> None:
    """Standard input, output and error of the command, the status pipe, the proxy's control, and nothing else."""
    wanted = [*plan.descriptors[:3], status, *([control] if plan.proxy else [])]
    high = [fcntl.fcntl(number, fcntl.F_DUPFD_CLOEXEC, CONTROL + 1) for number in wanted]
    for target, source in enumerate(high):
        os.dup2(source, target, inheritable=target < STATUS)
    for name in os.listdir("/proc/self/fd"):
        if int(name) >= len(wanted):
            try:
                os.close(int(name))
            except OSError as error:
                if error.errno != errno.EBADF:
                    raise


def confine_and_run(plan: Plan, counted: bool) -> None:
    """Never returns: the command runs in this process, or the process ends with 125, 126 or 127."""
    alone = plan.tier == "landlock"
    os.chdir(plan.folder)
    version = landlock.abi()
    if alone and version < LEAST_LANDLOCK_ALONE:
        raise OSError(
            f"Landlock ABI {version}; without namespaces at least {LEAST_LANDLOCK_ALONE} (Linux 6.2) is needed"
        )
    limits.apply_rlimits(plan, own_user_namespace=not alone)
    if plan.proxy:
        hand_over_listener()
    system.drop_capabilities()
    read = list(plan.read)
    write = list(plan.write)
    if alone:
        write.append(plan.temporary)
    else:
        read.append("/etc")
        read.append("/proc")
        write += ["/tmp", "/dev/shm"]
    landlock.restrict(read, write, [] if alone else ["/"], tcp=not alone)
    tell(f"GOT landlock ABI {version}")
    families = [] if alone else [seccomp.AF_INET, seccomp.AF_INET6]
    if plan.unix_sockets and not alone:
        families.append(seccomp.AF_UNIX)
    seccomp.restrict(families, alone=alone, signals=not alone or version >= 6, counted=counted)
    tell("GOT seccomp")
    os.umask(plan.umask)
    for number in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores them, and exec would hand that on
        signal.signal(number, signal.SIG_DFL)
    execute(plan)


def hand_over_listener() -> None:
    """Listen on this network namespace's loopback, where there is nothing else, and let the supervisor answer."""
    import socket

    with socket.create_server(("127.0.0.1", PORT), backlog=64) as listener, socket.socket(fileno=CONTROL) as control:
        socket.send_fds(control, [b"listener"], [listener.fileno()])
    tell(f"GOT proxy on port {PORT}")


def execute(plan: Plan) -> None:
    """Become the command, found on the PATH that it will see; else say why and end with 126 or 127, as a shell does."""
    name = plan.command[0]
    folders = [""] if "/" in name else plan.environment.get("PATH", "").split(":")
    worst = errno.ENOENT
    for folder in folders:
        try:
            os.execve(os.path.join(folder, name), plan.command, plan.environment)  # noqa: S606 - confined by now
        except OSError as error:
            if error.errno not in {errno.ENOENT, errno.ENOTDIR}:
                worst = error.errno or worst
    tell(f"EXEC {os.strerror(worst)}: {name}")
    os._exit(127 if worst == errno.ENOENT else 126)


def in_namespaces(plan: Plan, counted: bool) -> None:
    """This process waits; its child is the first of the new namespaces; the command is that child's child."""
    namespaces.enter(os.getuid(), os.getgid())
    first = os.fork()
    if first:
        os.closerange(0, CONTROL + 1)
        os._exit(wait_for(first))
    try:
        system.die_with_parent(signal.SIGKILL, 0)
        namespaces.build_root(plan)
        for line in namespaces.settle(plan):
            tell(f"GOT {line}")
        system.prctl("not dumpable", system.PR_SET_DUMPABLE, 0)
        command = os.fork()
        if command == 0:
            system.die_with_parent(signal.SIGKILL, 0)
            guarded(confine_and_run, plan, counted)
        os.closerange(0, CONTROL + 1)
        os._exit(wait_for(command))
    except BaseException as error:
        refuse(error)


def in_bubblewrap(plan: Plan, counted: bool) -> None:
    """bubblewrap makes the namespaces and the root; a second stage inside adds what it leaves open."""
    from vortex.sandbox.launch.bubblewrap import arguments

    fields = dict(plan.__dict__, counted=counted)
    reading, writing = os.pipe()
    os.write(writing, Plan(fields).to_message())
    os.close(writing)
    os.set_inheritable(reading, True)
    os.set_inheritable(STATUS, True)
    if plan.proxy:
        os.set_inheritable(CONTROL, True)
    os.execve("/usr/bin/bwrap", arguments(plan, reading), {})  # noqa: S606 - a fixed program with a list of arguments


def second_stage(descriptor: int) -> None:
    """Entered inside bubblewrap: read the plan again and confine."""
    with os.fdopen(descriptor, "rb") as file:
        plan = Plan.from_message(file.read())
    os.set_inheritable(STATUS, False)
    guarded(confine_and_run, plan, bool(plan.__dict__["counted"]))


def guarded(step: Callable[[Plan, bool], None], plan: Plan, counted: bool) -> None:
    """Run a step that must not return; whatever goes wrong becomes a refusal."""
    try:
        step(plan, counted)
    except BaseException as error:
        refuse(error)
    refuse(OSError("the command was not started"))


def refuse(error: BaseException) -> None:
    try:
        tell(f"REFUSED {error if isinstance(error, OSError) else repr(error)}")
    finally:
        os._exit(125)


def wait_for(child: int) -> int:
    """Reap everything until `child` has ended; its exit code, 128 and the signal's number where a signal ended it."""
    while True:
        process, state = os.wait()
        if process == child:
            return exit_code(state)


def exit_code(state: int) -> int:
    code = os.waitstatus_to_exitcode(state)
    return code if code >= 0 else 128 - code


RUN = {"namespaces": in_namespaces, "bubblewrap": in_bubblewrap, "landlock": confine_and_run}
