"""`vortex chat` on a terminal: a real pseudo-terminal, keys pressed, screen read."""

from __future__ import annotations

import os
import pty
import select
import signal
import time
from collections.abc import Callable, Iterator

import pytest

PATIENCE_S = 60


class Terminal:
    """A process that believes to sit at a terminal. `expect` reads on until a text appears."""

    def __init__(self, vortex, *arguments: str) -> None:
        self.pid, self.screen = pty.fork()
        if self.pid == 0:
            os.chdir(vortex.folder)
            os.execve(vortex.command()[0], vortex.command(*arguments), vortex.environment)
        self.seen = ""

    def type(self, keys: str) -> None:
        self.seen = ""
        os.write(self.screen, keys.encode())

    def expect(self, text: str) -> str:
        ends = time.monotonic() + PATIENCE_S
        while text not in self.seen:
            assert time.monotonic() < ends, f"no {text!r} in {self.seen!r}"
            self.seen += self._read()
        return self.seen

    def insist(self, keys: str, text: str) -> None:
        """Press again until it shows: a signal that meets readline just before it waits is seen with the next key."""
        ends = time.monotonic() + PATIENCE_S
        self.seen = ""
        while text not in self.seen:
            assert time.monotonic() < ends, f"no {text!r} in {self.seen!r}"
            os.write(self.screen, keys.encode())
            pressed = time.monotonic()
            while text not in self.seen and time.monotonic() < pressed + 2:
                self.seen += self._read()

    def _read(self) -> str:
        if not select.select([self.screen], [], [], 1.0)[0]:
            return ""
        try:
            return os.read(self.screen, 4096).decode(errors="replace")
        except OSError:
            return ""

    def exit_code(self) -> int:
        """Reads the screen to its end first: a process that cannot write cannot end."""
        ends = time.monotonic() + PATIENCE_S
        while True:
            ended, status = os.waitpid(self.pid, os.WNOHANG)
            if ended:
                os.close(self.screen)
                return os.waitstatus_to_exitcode(status)
            assert time.monotonic() < ends, f"still running after {self.seen!r}"
            if select.select([self.screen], [], [], 0.1)[0]:
                self.seen += self._read()


@pytest.fixture
def terminal(vortex) -> Iterator[Callable[..., Terminal]]:
    opened: list[Terminal] = []

    def start(*arguments: str) -> Terminal:
        opened.append(Terminal(vortex, *arguments))
        opened[-1].expect("> ")
        return opened[-1]

    yield start
    for one in opened:
        try:
            os.kill(one.pid, signal.SIGKILL)
            os.waitpid(one.pid, 0)
        except (ProcessLookupError, ChildProcessError):
            continue


def test_a_conversation_with_commands(terminal, vortex) -> None:
    screen = terminal("chat", "--backend", "fake")
    screen.type("hello there\n")
    assert "You said: hello there" in screen.expect("tokens")
    screen.expect("> ")
    screen.type("/help\n")
    screen.expect("/exit")
    screen.type("/claer\n")
    screen.expect("did you mean '/clear'?")
    screen.type("/clear\n")
    screen.expect("forgotten")
    screen.type("/exit\n")
    assert screen.exit_code() == 0
    history = next((vortex.folder.parent / "home" / "state").rglob("chat_history"))
    assert "hello there" in history.read_text()
    assert history.stat().st_mode & 0o077 == 0


def test_ctrl_c_stops_an_answer_and_returns_to_the_prompt(terminal) -> None:
    screen = terminal("chat", "--backend", "hash", "--max-new-tokens", "100000000")
    screen.type("go on\n")
    screen.expect("go on\r\n")
    time.sleep(0.3)
    screen.type("\x03")
    screen.expect("stopped\r\n")
    screen.expect("> ")
    screen.insist("\x03", "Ctrl-D or /exit leaves")
    screen.type("/exit\n")  # unlike Ctrl-D, not lost where it meets readline between two modes
    assert screen.exit_code() == 0


def test_a_models_control_characters_never_reach_the_terminal(terminal) -> None:
    screen = terminal("chat", "--backend", "fake", "--set", "chat.system=x")
    screen.type("\x16\x1b]0;owned\x16\x07\n")  # Ctrl-V takes the next key as it is
    said = screen.expect("tokens").partition("You said")[2]
    assert "]0;owned" in said
    assert "\x07" not in said
    assert "\x1b]" not in said
    screen.type("/exit\n")
    assert screen.exit_code() == 0


def test_a_pasted_paragraph_is_one_question(terminal) -> None:
    screen = terminal("chat", "--backend", "fake")
    screen.type("\x1b[200~first line\rsecond line\x1b[201~")
    screen.type("\r")
    said = screen.expect("tokens")
    assert said.count("You said") == 1
    assert "second line" in said.partition("You said")[2]
    screen.type("/EXIT\n")
    assert screen.exit_code() == 0


def test_a_conversation_is_saved_loaded_and_asked_again(terminal, vortex) -> None:
    screen = terminal("chat", "--backend", "fake")
    for typed, shown in [
        ("hello there\n", "tokens"),
        ("/retry\n", "You said: hello there"),
        ("/save talk.json\n", "2 messages are in talk.json"),
        ("/clear\n", "forgotten"),
        ("/load talk.json\n", "2 messages from talk.json"),
        ("/load nowhere.json\n", "cannot be read"),
        ("/System be brief\n", "told that"),
        ("/model hash\n", "hash"),
    ]:
        screen.type(typed)
        screen.expect(shown)
        screen.expect("> ")
    screen.type("/exit\n")
    assert screen.exit_code() == 0
    assert "hello there" in (vortex.folder / "talk.json").read_text()


def test_typed_lines_are_kept_before_the_window_closes(terminal, vortex) -> None:
    screen = terminal("chat", "--backend", "fake")
    screen.type("remember me\n")
    screen.expect("tokens")
    os.kill(screen.pid, signal.SIGKILL)
    history = next((vortex.folder.parent / "home" / "state").rglob("chat_history"))
    assert "remember me" in history.read_text()
