"""`python -m vortex.stack.watch FOLDER NAME -- COMMAND…`: keeps one command alive until it is told to stop.

Promises: one watcher per name (a lock that the system drops with its holders, so stale ones heal themselves); the
command runs in a group of its own, which is ended as a whole; a command that keeps dying is given up, with the reason
in its log. The command inherits the lock: should the watcher be killed, the lock still tells that the command runs.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from vortex.stack.lock import ServiceLock, started_at

GRACE_S = 10.0
QUICK_S = 5.0  # a command that lives shorter than this died at once
GIVE_UP_AFTER = 4  # such deaths in a row
LONGEST_WAIT_S = 30.0
CONFIG_ERROR = 2  # the exit code of a setting that starting again will not mend
POLL_S = 0.1


class Watcher:
    def __init__(self, folder: Path, name: str, command: Sequence[str]) -> None:
        self._folder = folder
        self._name = name
        self._command = list(command)
        self._stopping = False
        self._child: subprocess.Popen[bytes] | None = None

    def run(self) -> int:
        """0 when told to stop, 1 when the command was given up or another watcher runs."""
        signal.signal(signal.SIGTERM, self._stop)
        signal.signal(signal.SIGINT, self._stop)
        lock = ServiceLock(self._folder, self._name)
        if not lock.take():
            self._say("another watcher runs already")
            return 1
        deaths = 0
        while not self._stopping:
            born = time.monotonic()
            code = self._one_life(lock)
            if self._was_stopped():
                break
            deaths = deaths + 1 if time.monotonic() - born < QUICK_S else 0
            self._say(f"the command ended with {code}")
            if code == CONFIG_ERROR or deaths >= GIVE_UP_AFTER:
                self._say("given up: see above for the reason")
                lock.clear()
                return 1
            self._wait(min(2.0**deaths / 2, LONGEST_WAIT_S))
        lock.clear()
        return 0

    def _one_life(self, lock: ServiceLock) -> int:
        self._child = subprocess.Popen(
            self._command, stdin=subprocess.DEVNULL, start_new_session=True, pass_fds=[lock.descriptor]
        )
        lock.write(os.getpid(), self._child.pid)
        while (code := self._child.poll()) is None:
            if self._stopping:
                end_group(self._child)
            time.sleep(POLL_S)
        _kill_group(self._child.pid, signal.SIGKILL)  # whoever of the group outlived its head
        return code

    def _wait(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while not self._stopping and time.monotonic() < until:
            time.sleep(POLL_S)

    def _was_stopped(self) -> bool:
        return self._stopping

    def _stop(self, _: int, __: FrameType | None) -> None:
        self._stopping = True

    def _say(self, text: str) -> None:
        print(f"[watch {self._name}] {time.strftime('%Y-%m-%d %H:%M:%S')} {text}", file=sys.stderr, flush=True)


def end_group(child: subprocess.Popen[bytes], grace_s: float = GRACE_S) -> None:
    """Ask the child's group to end; after the grace, end it."""
    _kill_group(child.pid, signal.SIGTERM)
    try:
        child.wait(grace_s)
    except subprocess.TimeoutExpired:
        _kill_group(child.pid, signal.SIGKILL)
        child.wait()


def _kill_group(leader: int, number: signal.Signals) -> None:
    try:
        os.killpg(leader, number)
    except (ProcessLookupError, PermissionError):
        return


def main(arguments: Sequence[str]) -> int:
    folder, name, dashes, *command = arguments
    assert dashes == "--", "FOLDER NAME -- COMMAND"
    assert started_at(os.getpid()) is not None or sys.platform != "linux", "/proc tells when a process started"
    return Watcher(Path(folder), name, command).run()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
