"""The folder that is worked in, and the walls around everything that touches it.

Promises: file operations and commands run inside the sandbox with no network, no secrets and this one folder; what
`protect` names stays read-only and what `hide` names looks empty; reading operations cannot write.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from importlib import resources
from pathlib import Path
from typing import Any

import vortex
from vortex.agent.tools.tool import ToolError
from vortex.sandbox import Completed, Policy, python_paths, run

DOCUMENT_SECONDS = 60.0
DOCUMENT_MEMORY_BYTES = 1 << 30
# Entered inside: the path is resolved beneath the folder as every file tool does, then parsed by the room of knowledge.
DOCUMENT_PROGRAM = """
import json, os, sys
sys.path.insert(0, sys.argv[1])
from vortex.agent.tools.inside import Refused, read_bytes
from vortex.knowledge.documents.blocks import UnreadableDocument
from vortex.knowledge.documents.kinds import kind_of
from vortex.knowledge.documents.parsing import parse
path = sys.argv[2]
try:
    kind = kind_of(path)
    if kind is None:
        raise Refused(f"{path!r} is of no kind that is read; try read_file")
    found = parse(path, kind, read_bytes(os.open(".", os.O_PATH | os.O_DIRECTORY), path, 64 << 20))
    heads = [(block, " > ".join(block.heading)) for block in found.blocks]
    lines = [f"[{head}] {block.text}" if head else block.text for block, head in heads]
    answer = {"title": found.title, "text": "\\n\\n".join(lines)[:1_000_000]}
except (Refused, UnreadableDocument) as error:
    answer = {"refused": str(error)}
print(json.dumps(answer))
"""
READING = frozenset({"list", "read", "search"})
FILE_TOOL_SECONDS = 15.0
FILE_TOOL_BYTES = 512 << 20
FILE_TOOL_OUTPUT_BYTES = 4 << 20


@dataclass(frozen=True)
class Workspace:
    """`limits` is the policy of commands; its folder is replaced by this one. `require`: a tier, else the best."""

    folder: Path
    read: tuple[Path, ...] = ()
    protect: tuple[Path, ...] = ()
    hide: tuple[Path, ...] = ()
    require: str | None = None
    log: Path | None = None
    limits: Policy = field(default_factory=lambda: Policy(folder=Path()))

    def operate(self, operation: str, **request: Any) -> dict[str, Any]:
        """One file operation (inside.py). Raises ToolError with the reason, SandboxRefused without walls."""
        program = resources.files("vortex.agent.tools").joinpath("inside.py").read_text(encoding="utf-8")
        policy = replace(
            self._policy(FILE_TOOL_SECONDS), folder_writable=operation not in READING, memory_bytes=FILE_TOOL_BYTES,
            processes=8, output_bytes=FILE_TOOL_OUTPUT_BYTES,
        )  # fmt: skip
        if operation in READING:
            policy = replace(policy, protect=())
        # The interpreter itself, not the virtual environment around it: the program needs the standard library alone.
        command = [os.path.realpath(sys.executable), "-I", "-S", "-B", "-c", program]
        sent = json.dumps({"operation": operation, **request}).encode()
        done = run(command, policy, require=self.require, stdin=sent, log=self.log)
        if not done.ok or done.truncated:
            lines = done.stderr.strip().splitlines()
            raise ToolError(f"{operation} failed: {done.reason or (lines[-1] if lines else 'too much output')}")
        answer: dict[str, Any] = json.loads(done.stdout)
        if "refused" in answer:
            raise ToolError(str(answer["refused"]))
        return answer

    def read_document(self, path: str) -> tuple[str, str]:
        """Title and text of a document of any kind that knowledge reads, parsed inside. Raises ToolError."""
        source = Path(vortex.__file__).parent.parent
        policy = replace(
            self._policy(DOCUMENT_SECONDS), folder_writable=False, protect=(), memory_bytes=DOCUMENT_MEMORY_BYTES,
            output_bytes=FILE_TOOL_OUTPUT_BYTES,
        )  # fmt: skip
        policy = replace(policy, read=(*policy.read, Path(vortex.__file__).parent))
        command = [sys.executable, "-B", "-c", DOCUMENT_PROGRAM, str(source), path]
        done = run(command, policy, require=self.require, log=self.log)
        if not done.ok or done.truncated:
            raise ToolError(f"{path!r} could not be read: {done.reason or 'its parser failed'}")
        answer = json.loads(done.stdout)
        if "refused" in answer:
            raise ToolError(str(answer["refused"]))
        return str(answer["title"]), str(answer["text"])

    def command(self, command: Sequence[str], time_s: float) -> Completed:
        """Any command in the folder, behind the walls. A failing exit code is an answer."""
        return run(command, self._policy(time_s), require=self.require, log=self.log)

    def _policy(self, time_s: float) -> Policy:
        return replace(
            self.limits,
            folder=self.folder,
            read=tuple(dict.fromkeys((*python_paths(), *self.read))),
            protect=tuple(path for path in self.protect if path.exists()),
            hide=tuple(path for path in self.hide if path.exists()),
            time_s=time_s,
        )
