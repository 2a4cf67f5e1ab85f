"""`vortex chat` without a question: prompt, answer, prompt, …

Commands start with a slash. Ctrl-C stops an answer and keeps what was said; Ctrl-D or /exit leaves. What was typed is
kept for the arrow keys in the user's state folder, readable by that user alone; the conversation itself is not stored.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import platformdirs

from vortex.cli.composition import open_backend
from vortex.cli.terminal import notice, warn, write_answer
from vortex.cli.turn import Turn, request_for, run_turn
from vortex.config.entries import nearest
from vortex.config.loading import LoadedSettings
from vortex.errors import ContextOverflow, VortexError
from vortex.protocols import ChatBackend
from vortex.types import ChatMessage

HISTORY_LINES = 1000
PROMPT = "> "
COMMANDS = {
    "/help": "show this",
    "/clear": "forget the conversation",
    "/exit": "leave (also /quit and Ctrl-D)",
}


@dataclass
class Conversation:
    """The messages so far and what answers them."""

    backend: ChatBackend
    loaded: LoadedSettings
    runner: asyncio.Runner
    stream: bool = True
    seed: int | None = None
    max_tokens: int | None = None
    messages: list[ChatMessage] = field(default_factory=list)

    def say(self, text: str) -> None:
        """Ask, show the answer, remember both. A stopped answer is remembered as far as it came."""
        question = ChatMessage(role="user", content=text)
        request = request_for([*self.messages, question], self.loaded.settings, self.seed, self.max_tokens)
        turn = Turn()
        stopped = False
        try:
            self.runner.run(run_turn(self.backend, request, turn, write_answer if self.stream else lambda _: None))
        except KeyboardInterrupt:
            stopped = True
        except ContextOverflow as error:
            warn(f"{error} (/clear starts over)")
            return
        except VortexError as error:
            warn(str(error))
            return
        write_answer(("" if self.stream else turn.text) + "\n")
        if turn.text:
            self.messages += [question, ChatMessage(role="assistant", content=turn.text)]
        notice("stopped" if stopped else turn.summary())

    def command(self, line: str) -> bool:
        """Obey a slash command; False to leave."""
        name = line.split(maxsplit=1)[0]
        if name in {"/exit", "/quit"}:
            return False
        if name == "/clear":
            self.messages.clear()
            notice("forgotten")
        elif name == "/help":
            for known, meaning in COMMANDS.items():
                notice(f"{known:8} {meaning}")
        else:
            warn(f"no command {name}{nearest(name, COMMANDS)}; /help lists them (a leading space sends it as text)")
        return True


def converse(loaded: LoadedSettings, *, seed: int | None, stream: bool, max_tokens: int | None) -> None:
    """Talk until the user leaves."""
    backend = open_backend(loaded)
    notice(f"{loaded.settings.model.name} · /help lists commands, Ctrl-C stops an answer, Ctrl-D leaves")
    with _typed_lines(), asyncio.Runner() as runner:
        conversation = Conversation(backend, loaded, runner, stream, seed, max_tokens)
        try:
            _loop(conversation)
        finally:
            runner.run(backend.close())


def _loop(conversation: Conversation) -> None:
    """One line after the other. A second Ctrl-C may come at any moment, so the whole round is guarded."""
    interrupted = False
    while True:
        try:
            if interrupted:
                interrupted = False
                write_answer("\n")
                notice("Ctrl-D or /exit leaves")
            if not _round(conversation):
                return
        except KeyboardInterrupt:
            interrupted = True


def _round(conversation: Conversation) -> bool:
    """Read a line and act on it; False to leave."""
    try:
        line = input(PROMPT)
    except EOFError:
        write_answer("\n")
        return False
    if line.startswith("/"):
        return conversation.command(line)
    if line.strip():
        conversation.say(line.strip())
    return True


@contextlib.contextmanager
def _typed_lines() -> Iterator[None]:
    """Arrow keys bring back what was typed, also in an earlier conversation."""
    try:
        import readline
    except ImportError:  # Windows: its console keeps the lines of one conversation by itself
        yield
        return
    file = Path(platformdirs.user_state_path("vortex")) / "chat_history"
    with contextlib.suppress(OSError):  # nothing typed yet
        readline.read_history_file(file)
    readline.set_history_length(HISTORY_LINES)
    try:
        yield
    finally:
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(file, os.O_CREAT | os.O_WRONLY, 0o600))
            readline.write_history_file(file)
        except OSError as error:
            warn(f"typed lines are not kept: {error.strerror}: {file}")
