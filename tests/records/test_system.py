"""What differs between systems: the ways around what Linux has, and no POSIX-only call beside the one module."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from vortex.records import system

WITHOUT_POSIX = """
import importlib.abc, os, signal, sys
for name in ("preadv", "pread", "pwrite", "posix_fadvise", "sched_getaffinity", "fchmod", "geteuid", "getgid",
             "fork", "killpg", "setsid", "getpgid", "sysconf", "O_DIRECT", "O_NOFOLLOW", "mkfifo", "nice",
             "getloadavg", "chown", "wait4", "umask"):
    if hasattr(os, name):
        delattr(os, name)
for name in ("SIGHUP", "SIGKILL", "SIGCHLD", "SIGUSR1", "SIGQUIT", "pause", "alarm"):
    delattr(signal, name)

class NotOnWindows(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name in {"resource", "termios", "tty", "pwd", "grp", "pty", "syslog", "uvloop", "readline"}:
            raise ImportError(f"{name} is not on Windows")
        if name == "fcntl":
            frame = sys._getframe()
            while frame and "importlib" in frame.f_code.co_filename or frame.f_code.co_filename == __file__:
                frame = frame.f_back
            if frame.f_code.co_filename.endswith(("portalocker.py", "records/system.py")):
                return None
            raise ImportError("fcntl is not on Windows")
        return None

for name in ("fcntl", "resource", "termios", "pwd", "grp"):
    sys.modules.pop(name, None)
sys.meta_path.insert(0, NotOnWindows())
from vortex.cli.app import main
main()
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "bytes"
    path.write_bytes(bytes(range(256)) * 64)
    return path


@pytest.mark.parametrize("read", [system.read_at, system.read_by_seeking])
def test_reads_at_a_place(file: Path, read) -> None:
    descriptor = os.open(file, system.READ_FLAGS)
    target = bytearray(300)
    try:
        assert read(descriptor, memoryview(target), 1000) == 300
        assert target == file.read_bytes()[1000:1300]
        assert read(descriptor, memoryview(target), 64 * 256 - 5) == 5
        assert read(descriptor, memoryview(target), 64 * 256) == 0
    finally:
        os.close(descriptor)


def test_threads_may_share_a_descriptor_that_seeks(file: Path) -> None:
    whole = file.read_bytes()
    descriptor = os.open(file, system.READ_FLAGS)
    wrong = []

    def read_many(start: int) -> None:
        target = bytearray(100)
        for offset in range(start, len(whole) - 100, 97):
            system.read_by_seeking(descriptor, memoryview(target), offset)
            if target != whole[offset : offset + 100]:
                wrong.append(offset)

    threads = [threading.Thread(target=read_many, args=(start,)) for start in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    os.close(descriptor)
    assert not wrong


def test_a_lock_keeps_others_out(tmp_path: Path) -> None:
    first, second = (os.open(tmp_path / "lock", os.O_RDWR | os.O_CREAT) for _ in range(2))
    system.lock_descriptor(first)
    with pytest.raises(BlockingIOError):
        system.lock_descriptor(second, blocking=False)
    os.close(first)
    system.lock_descriptor(second, blocking=False)
    os.close(second)


def test_signals_are_those_this_system_has() -> None:
    assert system.stop_signals() == (signal.SIGINT, signal.SIGTERM)
    assert system.hangup_signal() is signal.SIGHUP


@pytest.mark.long
@pytest.mark.parametrize(
    "arguments",
    [
        ["chat", "What is the capital of France?"],
        ["chat", "--budget", "60MB", "--set", "decode.max_new_tokens=3", "What is the capital of France?"],
        ["models"],
        ["doctor"],
        ["config", "show", "decode"],
    ],
    ids=lambda arguments: " ".join(arguments[:2]),
)
def test_commands_run_without_what_windows_lacks(arguments: list[str], tmp_path: Path) -> None:
    """A Linux Python with its POSIX-only calls and modules taken away: not Windows, but none of them is needed."""
    script = tmp_path / "without_posix.py"
    script.write_text(WITHOUT_POSIX)
    result = subprocess.run(
        [sys.executable, "-P", str(script), *arguments], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr[-2000:]
    assert result.stdout.strip()


@pytest.mark.long
def test_a_server_runs_and_ends_without_what_windows_lacks(tmp_path: Path) -> None:
    import urllib.request

    from vortex.bench.programs import program

    script = tmp_path / "without_posix.py"
    script.write_text(WITHOUT_POSIX)
    command = [sys.executable, "-P", str(script), "serve", "--backend", "hash", "--port", "0"]
    variables = {"VORTEX_DATA": str(tmp_path)}
    with program(command, variables) as one, urllib.request.urlopen(f"{one.url}/readyz", timeout=30) as response:
        assert response.status == 200
