"""The process that documents are parsed in: bytes in, blocks out, with a lid on its memory and time.

A broken or hostile file (a bomb, endless nesting, a parser's own crash) takes this process down and nothing else; its
document is left out with the reason, and the next one gets a new process. The worker opens no file: it is handed
bytes. Runs alone as `python -P -m vortex.knowledge.documents.worker`; `DocumentWorker` is its other end.
"""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
import threading
from types import TracebackType
from typing import IO, Self

from vortex.knowledge.documents.blocks import DocumentKind, ParsedDocument, UnreadableDocument

MEMORY_BYTES = 2 << 30
TIMEOUT_S = 60.0
MAX_ANSWER_BYTES = 256 << 20
_LENGTH = struct.Struct(">Q")
_KEPT_VARIABLES = ("PATH", "PYTHONPATH", "LANG", "LC_ALL", "SYSTEMROOT", "TEMP", "TMP")


class DocumentWorker:
    """`with DocumentWorker() as worker: worker.parse(…)`. One caller at a time; starts when first needed."""

    def __init__(self, *, timeout_s: float = TIMEOUT_S, memory_bytes: int = MEMORY_BYTES) -> None:
        self._timeout_s = timeout_s
        self._memory_bytes = memory_bytes
        self._process: subprocess.Popen[bytes] | None = None

    def parse(self, name: str, kind: DocumentKind, data: bytes) -> ParsedDocument:
        """Raises UnreadableDocument."""
        process = self._process = self._process or self._start()
        assert process.stdin is not None, "pipes were asked for"
        assert process.stdout is not None, "pipes were asked for"
        expired = threading.Event()

        def stop() -> None:
            expired.set()
            process.kill()

        timer = threading.Timer(self._timeout_s, stop)
        timer.start()
        try:
            send(process.stdin, json.dumps({"name": name, "kind": kind}).encode(), data)
            answer = json.loads(receive(process.stdout))
        except (OSError, EOFError, ValueError) as error:
            self.close()
            reason = f"took longer than {self._timeout_s:g} s to read" if expired.is_set() else "its parser gave up"
            raise UnreadableDocument(reason) from error
        finally:
            timer.cancel()
        if "error" in answer:
            raise UnreadableDocument(answer["error"])
        return ParsedDocument.from_json(answer)

    def close(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except BrokenPipeError:
                    continue  # what was not sent is not needed any more

    def _start(self) -> subprocess.Popen[bytes]:
        environment = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
        command = [sys.executable, "-P", "-m", __name__, str(self._memory_bytes)]
        return subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def send(pipe: IO[bytes], *parts: bytes) -> None:
    for part in parts:
        pipe.write(_LENGTH.pack(len(part)))
        pipe.write(part)
    pipe.flush()


def receive(pipe: IO[bytes]) -> bytes:
    """Raises EOFError where the other end is gone, ValueError for a length that is none."""
    head = pipe.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        raise EOFError
    (length,) = _LENGTH.unpack(head)
    if length > MAX_ANSWER_BYTES:
        raise ValueError(f"{length} bytes are too many")
    data = pipe.read(length)
    if len(data) < length:
        raise EOFError
    return data


def _limit_memory(memory_bytes: int) -> None:
    try:
        import resource
    except ImportError:  # Windows: the time limit alone
        return
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def main() -> None:
    from vortex.knowledge.documents.parsing import parse

    _limit_memory(int(sys.argv[1]))
    stdin, stdout = sys.stdin.buffer, sys.stdout.buffer
    while True:
        try:
            asked = json.loads(receive(stdin))
            data = receive(stdin)
        except EOFError:
            return
        try:
            answer = parse(asked["name"], DocumentKind(asked["kind"]), data).to_json()
        except UnreadableDocument as error:
            answer = {"error": str(error)}
        except (MemoryError, RecursionError) as error:
            answer = {"error": f"too much to read ({type(error).__name__})"}
        send(stdout, json.dumps(answer).encode())


if __name__ == "__main__":
    main()
