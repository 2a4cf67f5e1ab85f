"""A peer program in a process of its own, so that its threads and libraries do not meet ours.

Speaks one JSON object a line each way with a worker (`workers/`), which runs in the interpreter where the peer is
installed. Close it after use; a worker whose parent is gone ends.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any

from vortex.errors import BackendError, MissingCapability

PEERS = {"llama.cpp": "llama_cpp_worker"}
WORKERS = {
    **PEERS,
    "vortex": "paged_worker",
    "transformers": "transformers_worker",
    "airllm": "airllm_worker",
    "lancedb": "lancedb_worker",
    "transformers lookup": "transformers_lookup_worker",
}

WORKER_LOOP = Path(__file__).parent / "workers" / "worker_loop.py"


def peer_python(chosen: str | None) -> str:
    """The interpreter that has the peer: the option, VORTEX_PEER_PYTHON, or this one."""
    return chosen or os.environ.get("VORTEX_PEER_PYTHON") or sys.executable


class Peer:
    """A running worker. `ask` is a remote call; everything is plain JSON."""

    def __init__(self, name: str, python: str) -> None:
        self.name = name
        try:
            self._process = subprocess.Popen(
                [python, str(WORKER_LOOP), WORKERS[name]],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                encoding="utf-8",
            )
        except OSError as error:
            raise MissingCapability(f"cannot start {python}: {error.strerror}; --peer-python names another") from error
        try:
            self.version = str(self.ask("version")["version"])
        except BackendError as error:
            self.close()
            raise MissingCapability(
                f"{name}'s Python package is not in {python}: install it there, or name another with --peer-python"
            ) from error

    @property
    def process_id(self) -> int:
        return self._process.pid

    def ask(self, operation: str, **arguments: object) -> dict[str, Any]:
        """Raises BackendError with the worker's own words if it fails or ends."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps({"operation": operation, **arguments}) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise BackendError(f"{self.name}'s worker ended (exit code {self._process.wait()})")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise BackendError(f"{self.name}: {answer['error']}")
        return answer

    def close(self) -> None:
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def __enter__(self) -> Peer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
