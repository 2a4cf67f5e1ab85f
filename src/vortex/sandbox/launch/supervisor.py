"""The supervisor of one run: starts the command behind its walls, watches it, ends it, reports.

Its standard input carries the plan and is then the lifeline: when the caller ends, in whatever way, the pipe closes and
everything below is killed. It is the subreaper of its own descendants only, so no child of the caller is ever touched.
The report is one message (values.py).
"""

from __future__ import annotations

import os
import select
import time

from vortex.sandbox.launch import command, system, values, watcher
from vortex.sandbox.launch.limits import Group
from vortex.sandbox.launch.plan import Plan

TYPE_CHECKING = False  # typing, and the module around _signal, would each cost a tenth of the start-up
if TYPE_CHECKING:
    import signal
    import socket

    from vortex.sandbox.launch.proxy import FilteringProxy
else:
    import _signal as signal

TICK_MS = 50
LIFELINE = 0
LAST_WALL = "seccomp"  # told when every wall stands; without it the command cannot have run
ENDED_BY_LIMIT, ENDED_BY_TIME, REFUSED = 137, 124, 125


class Run:
    """One command from fork to report."""

    def __init__(self, plan: Plan, began: float) -> None:
        self.plan = plan
        self.began = began
        self.reason = ""
        self.refused = ""
        self.code: int | None = None
        self.notes: list[str] = []
        self.setup_ms = 0.0
        self.peak_memory_bytes = self.peak_tasks = 0
        self._status = b""
        self._control: socket.socket | None = None
        self.proxy: FilteringProxy | None = None
        self.group = Group(plan, command.INFRASTRUCTURE[plan.tier])
        folders = [*plan.write, *([plan.temporary] if plan.tier == "landlock" else [])]
        self.disk = watcher.DiskWatch(folders, plan.disk_bytes, plan.files, plan.file_bytes)

    def start(self) -> None:
        reading, writing = os.pipe()
        supervisor = os.getpid()
        here, there = _control_pair() if self.plan.proxy else (None, None)
        self.child = os.fork()
        if self.child == 0:
            try:
                os.setsid()
                signal.signal(signal.SIGTERM, signal.SIG_DFL)
                signal.signal(signal.SIGINT, signal.SIG_DFL)
                system.die_with_parent(signal.SIGKILL, supervisor)
                command.keep_only_standard(self.plan, writing, there.fileno() if there else -1)
                self.group.join()
                with open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
                    file.write("1000")  # under memory pressure the kernel takes this run first
                command.guarded(command.RUN[self.plan.tier], self.plan, self.group.counts_memory)
            except BaseException as error:
                os.write(writing, f"REFUSED {error!r}\n".encode())
                os._exit(REFUSED)
        os.close(writing)
        for number in self.plan.descriptors[:3]:
            os.close(number)
        self.status = reading
        self._control = here
        if there is not None:
            there.close()

    def watch(self) -> None:
        """Until the command ends, a limit is passed, or the caller is gone."""
        handle = os.pidfd_open(self.child)
        poll = select.poll()
        poll.register(handle, select.POLLIN)
        poll.register(LIFELINE, select.POLLIN | select.POLLHUP)
        poll.register(self.status, select.POLLIN | select.POLLHUP)
        if self._control is not None:
            poll.register(self._control, select.POLLIN | select.POLLHUP)
        looked = time.monotonic()  # nothing has run yet: most commands are over before the first look
        while not self.reason:
            ready = [descriptor for descriptor, _ in poll.poll(TICK_MS)]
            if self.status in ready and not self._read_status():
                poll.unregister(self.status)
            if self._control is not None and self._control.fileno() in ready:
                poll.unregister(self._control)
                self._start_proxy(self._control)
                self._control = None
            if LIFELINE in ready and not os.read(LIFELINE, 4096):
                self.reason = "cancelled"
            elif handle in ready:
                break
            now = time.monotonic()
            if now - self.began > self.plan.time_s:
                self.reason = "time"
            elif now - looked > TICK_MS / 1000:
                looked = now
                self.reason = self._over_limit()
        os.close(handle)

    def _start_proxy(self, control: socket.socket) -> None:
        """Answer on the listening socket that the inside handed over; from here, where there is a network."""
        import socket

        from vortex.sandbox.launch.proxy import FilteringProxy

        with control:
            descriptors = socket.recv_fds(control, 64, 1)[1]
        if descriptors:
            self.proxy = FilteringProxy(socket.socket(fileno=descriptors[0]), self.plan.proxy_domains)
            self.proxy.start()

    def finish(self) -> dict[str, object]:
        if not self.reason:
            state = os.waitpid(self.child, 0)[1]
            self.code = command.exit_code(state)
        clean = watcher.end_all()
        while self._read_status():
            pass
        if not self.reason and not self.refused:
            self.reason = self._reason_of_ending()
        self.group.remove()
        if not self.reason and not self.refused and LAST_WALL not in self.notes:
            self.refused = "the walls were not finished"
        if self.reason:
            self.code = ENDED_BY_TIME if self.reason == "time" else ENDED_BY_LIMIT
        return {
            "exit_code": REFUSED if self.refused else self.code,
            "reason": self.reason,
            "refused": self.refused,
            "notes": [*self.notes, *self.group.notes(), *(self.proxy.notes if self.proxy else [])],
            "setup_ms": round(self.setup_ms, 1),
            "peak_memory_bytes": self.peak_memory_bytes,
            "peak_tasks": self.peak_tasks,
            "all_ended": clean,
        }

    def _read_status(self) -> bool:
        """Take in what the stages told; False when the command has started and nothing more can come."""
        block = os.read(self.status, 4096)
        self._status += block
        *lines, self._status = self._status.split(b"\n")
        for line in lines:
            kind, _, text = line.decode(errors="replace").partition(" ")
            if kind == "REFUSED" and not self.refused:
                self.refused = text
            elif kind == "GOT":
                self.notes.append(text)
            elif kind == "EXEC":
                self.notes.append(f"exec: {text}")
        if not block and not self.setup_ms:
            self.setup_ms = (time.monotonic() - self.began) * 1000
        return bool(block)

    def _over_limit(self) -> str:
        processes = watcher.descendants()
        memory, tasks = watcher.usage(processes)
        tasks -= command.INFRASTRUCTURE[self.plan.tier]
        self.peak_memory_bytes = max(self.peak_memory_bytes, memory)
        self.peak_tasks = max(self.peak_tasks, tasks)
        if memory > self.plan.memory_bytes and watcher.proportional_memory(processes) > self.plan.memory_bytes:
            return "memory"
        if tasks > self.plan.processes:
            return "processes"
        return self.disk.exceeded(processes)

    def _reason_of_ending(self) -> str:
        """A limit of the kernel's own that ended the command, told apart from the command's own failure."""
        if self.group.out_of_memory():
            return "memory"
        by_signal = {128 + signal.SIGXCPU: "time", 128 + signal.SIGXFSZ: "file size"}
        return by_signal.get(self.code or 0, "")


def _control_pair() -> tuple[socket.socket, socket.socket]:
    import socket

    return socket.socketpair()


def main() -> None:
    began = time.monotonic()
    message = b""
    while not Plan.is_whole(message):
        block = os.read(LIFELINE, 65536)
        if not block:
            os._exit(REFUSED)
        message += block
    plan = Plan.from_message(message)
    # The parent's end is seen on the lifeline; this is for a caller whose forked children keep the pipe open.
    system.die_with_parent(signal.SIGTERM, plan.parent)
    os.environ.clear()
    system.prctl("subreaper", system.PR_SET_CHILD_SUBREAPER, 1)
    run = Run(plan, began)
    previous = signal.signal(signal.SIGTERM, lambda *_: setattr(run, "reason", "cancelled"))
    assert previous is not None
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        if os.getuid() == 0:
            try:  # noqa: SIM105 - contextlib would cost a tenth of the start-up
                os.setgroups([])
            except PermissionError:
                pass  # a container without that right
        run.start()
        run.watch()
        report = run.finish()
    except OSError as error:
        watcher.end_all()
        run.group.remove()
        report = {"exit_code": REFUSED, "reason": "", "refused": str(error), "notes": []}
    os.write(plan.descriptors[3], values.encode(report))
