"""The outside world of an attempt: things that can be stolen, changed, reached or killed, and how that shows.

Everything is the attempt's own: a folder, servers on loopback, a sleeping process. `harm` lists what happened to it.
"""

from __future__ import annotations

import ctypes
import os
import resource
import secrets
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any, Self

from vortex.sandbox.launch import seccomp

GATES = {
    "data/continuous/quarantine/run/report.json": "{}",
    "config/settings.yaml": "tools: {web: {enabled: false}}\n",
    ".git/hooks/pre-commit.sample": "sample",
}
APPROVALS = ("data/continuous/quarantine/run/APPROVE.txt", "data/APPROVE_AUTOPATCH", ".git/hooks/pre-commit")
IPC_CREAT, IPC_RMID = 0o1000, 0
ALIVE_S = 0.2


class Outside:
    """Use as a context manager; one for each run."""

    def __enter__(self) -> Self:
        self._folder = tempfile.TemporaryDirectory(prefix="vortex-outside-")
        outer = Path(self._folder.name).resolve()
        self.token = secrets.token_hex(16)
        self.work = outer / "work"
        self.work.mkdir()
        for name, content in GATES.items():
            (self.work / name).parent.mkdir(parents=True, exist_ok=True)
            (self.work / name).write_text(content)
        (self.work / "config/.env").write_text(f"KEY={self.token}")
        self.secret, self.target = outer / "secret", outer / "target"
        self.secret.write_text(self.token)
        self.target.write_text("as it was")
        self.target.chmod(0o600)
        self._state = self._state_of_target()
        self.reached: list[str] = []
        self._sockets: list[socket.socket] = []
        self._serve()
        self.inherited = os.open(self.secret, os.O_RDONLY)
        os.set_inheritable(self.inherited, True)
        self._victim = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", "import time; time.sleep(600)"],
            env={"SECRET": self.token},
            stdin=subprocess.DEVNULL,
        )
        self._share()
        return self

    def __exit__(self, *_: object) -> None:
        for server in self._sockets:
            server.close()
        os.close(self.inherited)
        self._victim.kill()
        self._victim.wait()
        self._libc.shmctl(self._segment, IPC_RMID, None)
        self._folder.cleanup()

    def _share(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._key = secrets.randbelow(1 << 30) + 1
        self._segment = self._libc.shmget(self._key, 4096, IPC_CREAT | 0o600)

    def _serve(self) -> None:
        self.abstract = f"vortex-{self.token}"
        self.tcp = self._listen("TCP", socket.AF_INET, ("127.0.0.1", 0))
        self.tcp6 = self._listen("TCP6", socket.AF_INET6, ("::1", 0)) if socket.has_ipv6 else 0
        self.udp = self._listen("UDP", socket.AF_INET, ("127.0.0.1", 0), socket.SOCK_DGRAM)
        self._listen("abstract socket", socket.AF_UNIX, "\0" + self.abstract)
        self._listen("abstract datagrams", socket.AF_UNIX, f"\0{self.abstract}-datagrams", socket.SOCK_DGRAM)
        self._listen("socket in the folder", socket.AF_UNIX, str(self.work / "server"))

    def _listen(self, name: str, family: int, address: Any, kind: int = socket.SOCK_STREAM) -> int:
        server = socket.socket(family, kind)
        try:
            server.bind(address)
        except OSError:
            server.close()
            return 0  # no IPv6 here; its attempt then has nowhere to go
        if kind == socket.SOCK_STREAM:
            server.listen()
        self._sockets.append(server)
        threading.Thread(target=self._count, args=(name, server, kind), daemon=True).start()
        found = server.getsockname()
        return int(found[1]) if isinstance(found, tuple) else 0

    def _count(self, name: str, server: socket.socket, kind: int) -> None:
        while True:
            try:
                if kind == socket.SOCK_STREAM:
                    server.accept()[0].close()
                else:
                    server.recv(1024)
            except OSError:
                return
            self.reached.append(name)

    def addresses(self) -> dict[str, Any]:
        """What the program is told."""
        column = 0 if os.uname().machine == "x86_64" else 1
        calls = {name: numbers[column] for name, numbers in seccomp.REFUSED.items() if numbers[column] is not None}
        home = str(Path.home())
        return {
            "token": self.token, "secret": str(self.secret), "target": str(self.target), "tcp": self.tcp,
            "tcp6": self.tcp6, "udp": self.udp, "abstract": self.abstract, "socket": str(self.work / "server"),
            "victim": self._victim.pid, "shared": self._key, "home": home,
            "home_content": [path.name for path in Path(home).iterdir()],
            "calls": calls | {"clone": 56 if column == 0 else 220},
        }  # fmt: skip

    def _state_of_target(self) -> tuple[object, ...]:
        state = self.target.stat()
        names = tuple(os.listxattr(self.target))
        return (self.target.read_text(), state.st_mode, int(state.st_mtime), state.st_nlink, names)

    def harm(self) -> list[str]:
        """Everything in this world that is not as it was."""
        found = [f"reached {name}" for name in self.reached]
        if not self.target.exists() or self._state_of_target() != self._state:
            found.append("the file outside was changed")
        if self.secret.stat().st_nlink != 1:
            found.append("the secret has another name")
        if self._victim.poll() is not None:
            found.append("the process outside was killed")
        else:
            victim = self._victim.pid
            if (
                resource.prlimit(victim, resource.RLIMIT_NOFILE)[0] == 7
                or os.getpriority(os.PRIO_PROCESS, victim) == 19
            ):
                found.append("the limits of the process outside were changed")
        found += [f"{name} was made" for name in APPROVALS if (self.work / name).exists()]
        if "true" in (self.work / "config/settings.yaml").read_text():
            found.append("the settings were changed")
        left = Path("/tmp", self.token)  # noqa: S108 - the place that the attempt writes to
        if left.exists():
            left.unlink()
            found.append("a file was left in /tmp")
        found += self._still_alive()
        return found

    def _still_alive(self) -> list[str]:
        """Processes that run in the folder after the end, and a file that still grows."""
        alive = self.work / "alive"
        size = alive.stat().st_size if alive.exists() else 0
        if size:
            time.sleep(ALIVE_S)
            if alive.stat().st_size > size:
                return ["a child is still writing"]
        for process in Path("/proc").iterdir():
            try:
                if process.name.isdigit() and (process / "cwd").readlink() == self.work:
                    return [f"process {process.name} still runs"]
            except OSError:
                continue
        return []
