"""What a person types at the prompt of `vortex chat`: kept line by line, pasted as one, silent while an answer comes.

A line is in the history file (readable by its owner alone) as soon as it was typed, so a window that closes loses
none. Without `readline` (Windows) the console keeps the lines of one conversation by itself.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import platformdirs

from vortex.cli.terminal import warn

HISTORY_LINES = 1000


class TypedLines:
    """`read` asks for a line; what is pasted with line breaks is one."""

    def __init__(self) -> None:
        try:
            import readline
        except ImportError:
            self._readline = None
            return
        self._readline = readline
        self._file = Path(platformdirs.user_state_path("vortex")) / "chat_history"
        readline.parse_and_bind("set enable-bracketed-paste on")
        with contextlib.suppress(OSError):  # nothing typed yet
            readline.read_history_file(self._file)
        readline.set_history_length(HISTORY_LINES)

    def read(self, prompt: str) -> str:
        """Raises EOFError at the end of the input."""
        line = input(prompt)
        if self._readline is not None and line.strip():
            self._keep(line)
        return line

    def _keep(self, line: str) -> None:
        assert self._readline is not None, "checked by the caller"
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(self._file, os.O_CREAT | os.O_WRONLY, 0o600))
            if "\n" in line:  # the file has a line for each entry
                self._readline.replace_history_item(
                    self._readline.get_current_history_length() - 1, " ".join(line.split("\n"))
                )
            self._readline.write_history_file(self._file)
        except OSError as error:
            warn(f"typed lines are not kept: {error.strerror}: {self._file}")
            self._readline = None


@contextlib.contextmanager
def silent_keys() -> Iterator[None]:
    """While the block runs, keys are not written into what it shows; Ctrl-C works. They are read afterwards."""
    try:
        import termios
    except ImportError:
        yield
        return
    if not sys.stdin.isatty():
        yield
        return
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    quiet = list(before)
    quiet[3] &= ~termios.ECHO
    termios.tcsetattr(descriptor, termios.TCSADRAIN, quiet)
    try:
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
