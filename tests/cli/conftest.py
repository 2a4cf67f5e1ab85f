"""The program as a user runs it: a real process in an empty folder, with a home of its own."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from vortex.cli.app import main
from vortex.hub.cache import cache_home

TIMEOUT_S = 120


@dataclass(frozen=True)
class Program:
    """Runs `python -m vortex` with a clean environment; what models are on this machine stays visible."""

    folder: Path
    environment: dict[str, str]

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "vortex", *arguments]

    def run(self, *arguments: str, stdin: str | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*arguments),
            input=stdin if stdin is not None else "",
            capture_output=True,
            text=True,
            cwd=self.folder,
            env={**self.environment, **environment},
            timeout=TIMEOUT_S,
            check=False,
        )

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            self.command(*arguments),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=self.folder,
            env=self.environment,
        )


@pytest.fixture
def vortex(tmp_path: Path) -> Program:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("VORTEX", "KLIMEAI", "C3RNT2"))}
    home, work = tmp_path / "home", tmp_path / "work"
    home.mkdir()
    work.mkdir()
    own = {
        "HOME": str(home),
        "XDG_CONFIG_HOME": str(home / "config"),
        "XDG_STATE_HOME": str(home / "state"),
        "VORTEX_HOME": str(cache_home()),
        "TERM": "dumb",
        "COLUMNS": "100",
    }
    return Program(work, {**kept, **own})


@dataclass(frozen=True)
class Result:
    returncode: int
    stdout: str
    stderr: str


class SameProcess:
    """The same program without the second that a new process takes: for what does not depend on one."""

    def __init__(self, program: Program, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = program.folder
        self._monkeypatch, self._capsys = monkeypatch, capsys
        for name in set(os.environ) - set(program.environment):
            monkeypatch.delenv(name)
        for name, value in program.environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.chdir(program.folder)

    def run(self, *arguments: str, stdin: str = "", **environment: str) -> Result:
        with self._monkeypatch.context() as patch:
            patch.setattr(sys, "argv", ["vortex", *arguments])
            patch.setattr(sys, "stdin", io.StringIO(stdin))
            for name, value in environment.items():
                patch.setenv(name, value)
            self._capsys.readouterr()
            with pytest.raises(SystemExit) as ended:
                main()
            out, error = self._capsys.readouterr()
            return Result(int(ended.value.code or 0), out, error)


@pytest.fixture
def inside(vortex: Program, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> SameProcess:
    return SameProcess(vortex, monkeypatch, capsys)
