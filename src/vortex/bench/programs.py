"""Programs that a measurement starts beside itself, and what they cost in processor time.

Each writes a line with its address when it is ready. Ended with the block that started them.
"""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from vortex.errors import BackendError
from vortex.machine.python_program import python_module

READY_S = 60.0
ADDRESS = re.compile(r"http://[\w.]+:\d+")


class Program:
    def __init__(self, process: subprocess.Popen[str], url: str) -> None:
        self._process = process
        self.url = url

    def cpu_s(self) -> float:
        """Processor seconds used so far, in steps of the kernel's clock (10 ms). Linux; elsewhere 0."""
        path = Path(f"/proc/{self._process.pid}/stat")
        if not path.exists():
            return 0.0
        fields = path.read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def kill(self) -> None:
        """End it as a crash would: at once, without a word."""
        self._process.kill()

    def memory_mb(self) -> float:
        """Resident memory. Linux; elsewhere 0."""
        path = Path(f"/proc/{self._process.pid}/status")
        found = re.search(r"VmRSS:\s+(\d+)", path.read_text()) if path.exists() else None
        return int(found[1]) / 1024 if found else 0.0


@contextmanager
def program(command: Sequence[str], variables: Mapping[str, str] | None = None) -> Iterator[Program]:
    """Run a command until the block ends. Raises BackendError when it does not say its address."""
    with spawned(command, variables, listen=True) as process:
        yield Program(process, _address(process))


@contextmanager
def spawned(
    command: Sequence[str], variables: Mapping[str, str] | None = None, *, listen: bool = False
) -> Iterator[subprocess.Popen[str]]:
    """A process that ends with the block. `listen`: what it says can be read; else it is dropped."""
    process = subprocess.Popen(
        list(command),
        stdout=subprocess.PIPE if listen else subprocess.DEVNULL,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, **(variables or {})},
    )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()


def _address(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None, "it was asked for"
    deadline = time.monotonic() + READY_S
    said = []
    while time.monotonic() < deadline and (line := process.stdout.readline()):
        said.append(line)
        if found := ADDRESS.search(line):
            return found[0].replace("0.0.0.0", "127.0.0.1")  # noqa: S104 - read, not bound
    raise BackendError(f"a program of the measurement did not start: {' '.join(said)[-300:]}")


def fake_engine(*options: str) -> list[str]:
    return python_module("vortex.backends.fake_engine", "--port", "0", *options)


def gateway() -> list[str]:
    return python_module("vortex.gateway", "--port", "0")
