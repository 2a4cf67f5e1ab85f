"""Draw docs/images/terminal.svg: the program as a person meets it, in a terminal of its own; what it prints is real.

    python scripts/terminal_picture.py [MODEL]

The first question goes to the default model. MODEL (a GGUF file of the working folder, say) has the conversation; the
default model has it where none is named. Linux and macOS only.
"""

from __future__ import annotations

import io
import os
import pty
import re
import select
import shlex
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Sequence
from pathlib import Path

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.text import Text

PICTURE = Path(__file__).parent.parent / "docs" / "images" / "terminal.svg"
COLUMNS, LINES = 92, 50
LONGEST_S = 600.0
PIECE = re.compile(r"\x1b\[([0-9;?]*)([A-Za-z])|\x1b\][^\x07]*\x07|\x1b.|(.)", re.DOTALL)
ASKED = "What is the capital of Japan?"
TYPED = ("Write a Python one-liner that reverses the words of a string.", "¿Cuál es la capital de España?", "/quit")


class Screen:
    """What a terminal would show of some output: lines of (sign, its style); nothing scrolls away."""

    def __init__(self) -> None:
        self.lines: list[list[tuple[str, str]]] = [[]]
        self._row, self._column, self._style = 0, 0, ""

    def write(self, text: str) -> None:
        for found in PIECE.finditer(text):
            if found[2]:
                self._control(found[1], found[2])
            elif found[3]:
                self._sign(found[3])

    def _sign(self, sign: str) -> None:
        if sign == "\n":
            self._row += 1
        elif sign == "\r":
            self._column = 0
        elif sign == "\b":
            self._column = max(0, self._column - 1)
        elif sign >= " ":
            line = self._line()
            line += [(" ", "")] * (self._column + 1 - len(line))
            line[self._column] = (sign, self._style)
            self._column += 1

    def _line(self) -> list[tuple[str, str]]:
        while len(self.lines) <= self._row:
            self.lines.append([])
        return self.lines[self._row]

    def _control(self, numbers: str, kind: str) -> None:
        number = int(numbers) if numbers.isdigit() else 1
        if kind == "m":
            self._style = "" if numbers in {"", "0"} else f"{self._style}\x1b[{numbers}m"
        elif kind == "K":
            del self._line()[0 if numbers in {"1", "2"} else self._column :]
        elif kind == "A":
            self._row = max(0, self._row - number)
        elif kind in "CD":
            self._column = max(0, self._column + (number if kind == "C" else -number))
        elif kind == "G":
            self._column = number - 1

    def text(self) -> str:
        shown = ["".join(f"{style}{sign}\x1b[0m" for sign, style in line) for line in self.lines]
        return "\n".join(shown).rstrip()


def session(arguments: Sequence[str], typed: Sequence[str] = ()) -> Screen:
    """What the command shows. Each of `typed` is entered when the program waits for it, which silence tells."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (LINES, COLUMNS))
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": str(COLUMNS), "LINES": str(LINES)}
    with tempfile.TemporaryDirectory() as state:  # no history of ours
        environment["XDG_STATE_HOME"] = state
        command = [sys.executable, "-P", "-m", "vortex", *arguments]
        process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment)
        os.close(theirs)
        screen, waiting = Screen(), list(typed)
        deadline_s = time.monotonic() + LONGEST_S
        while time.monotonic() < deadline_s:
            ready, _, _ = select.select([ours], [], [], 0.2)
            if ready:
                try:
                    data = os.read(ours, 65536)
                except OSError:  # Linux's way to say that the other side has closed
                    break
                if not data:
                    break
                screen.write(data.decode(errors="replace"))
            elif waiting and screen.lines[-1][:2] and "".join(sign for sign, _ in screen.lines[-1]).strip() == ">":
                os.write(ours, waiting.pop(0).encode() + b"\n")
        os.close(ours)
        process.wait(30)
    return screen


def main() -> None:
    model = ["--model", sys.argv[1]] if len(sys.argv) > 1 else []
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    sessions: list[tuple[list[str], tuple[str, ...]]] = [
        (["chat", ASKED], ()),
        (["chat", *model], TYPED),
        (["chat", "--budget", "60MB", ASKED], ()),
    ]
    for arguments, typed in sessions:
        command = shlex.join(["vortex", *arguments]).replace("'", '"')
        console.print(Text.assemble(("$ ", "bold green"), (command, "bold")))
        console.print(Text.from_ansi(session(arguments, typed).text() + "\n"))
    PICTURE.parent.mkdir(parents=True, exist_ok=True)
    # without the web fonts of the default frame: the picture asks nobody's server for anything
    frame = re.sub(r"@font-face \{\{.*?\}\}", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
    PICTURE.write_text(console.export_svg(title="Vortex", code_format=frame), encoding="utf-8")


if __name__ == "__main__":
    main()
