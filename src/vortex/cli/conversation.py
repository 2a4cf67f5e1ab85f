"""`vortex chat` without a question: prompt, answer, prompt, …

Commands start with a slash (`slash_commands.py`). Ctrl-C stops an answer and keeps what was said; Ctrl-D or /exit
leaves. What was typed is kept for the arrow keys (`typed_lines.py`); the conversation itself is stored by /save alone.
"""

from __future__ import annotations

import asyncio
import dataclasses
import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path

from vortex.cli.composition import open_backend, with_manners
from vortex.cli.grounded_turn import Knowing, open_knowing, remember, show_citations
from vortex.cli.recommending import tell_once
from vortex.cli.slash_commands import obey
from vortex.cli.terminal import notice, warn, without_control, write_answer, write_as_is, write_thought
from vortex.cli.turn import Turn, request_for, run_turn
from vortex.cli.typed_lines import TypedLines, silent_keys
from vortex.cli.word_wrap import WordWrap
from vortex.config.loading import LoadedSettings
from vortex.errors import ContextOverflow, VortexError
from vortex.knowledge.memory.requests import asked_to_remember
from vortex.protocols import ChatBackend
from vortex.types import ChatMessage

PROMPT = "> "


@dataclass
class Conversation:
    """The messages so far and what answers them."""

    backend: ChatBackend
    loaded: LoadedSettings
    runner: asyncio.Runner
    stream: bool = True
    seed: int | None = None
    max_tokens: int | None = None
    knowing: Knowing | None = None
    messages: list[ChatMessage] = field(default_factory=list)

    def say(self, text: str) -> None:
        """Ask, show the answer, remember both. A stopped answer is remembered as far as it came."""
        question = ChatMessage(role="user", content=text)
        knowing = self.knowing or Knowing(self.loaded.settings)
        grounded = knowing.ground([*self.messages, question])
        request = request_for(grounded.messages, self.loaded.settings, self.seed, self.max_tokens)
        turn = Turn()
        stopped = False
        shown = WordWrap(write_as_is, shutil.get_terminal_size().columns) if sys.stdout.isatty() else None

        def show(piece: str) -> None:
            if shown:
                shown.push(without_control(piece))
            else:
                write_answer(piece)

        try:
            with silent_keys():
                shows = (show, write_thought) if self.stream else (lambda _: None, lambda _: None)
                self.runner.run(run_turn(self.backend, request, turn, *shows))
        except KeyboardInterrupt:
            stopped = True
        except ContextOverflow as error:
            warn(f"{error} (/clear starts over)")
            return
        except VortexError as error:
            warn(str(error))
            return
        if not self.stream:
            show(turn.text)
        if shown:
            shown.finish()
        write_answer("\n")
        if turn.text:
            self.messages += [question, ChatMessage(role="assistant", content=turn.text)]
            show_citations(grounded, turn.text)
        notice("stopped" if stopped else turn.summary())

    def change_model(self, name: str) -> None:
        """Another model answers from now on. Where it cannot be opened, the one before stays. Raises VortexError."""
        model = self.loaded.settings.model.model_copy(update={"name": name})
        settings = self.loaded.settings.model_copy(update={"model": model})
        loaded, _ = with_manners(dataclasses.replace(self.loaded, settings=settings))
        backend = open_backend(loaded, keep_prompts=True)
        self.runner.run(self.backend.close())
        self.backend, self.loaded = backend, loaded


def converse(
    loaded: LoadedSettings,
    *,
    seed: int | None,
    stream: bool,
    max_tokens: int | None,
    documents: Path | None = None,
) -> None:
    """Talk until the user leaves. documents: looked up for every question."""
    loaded, _ = with_manners(loaded)
    knowing = open_knowing(loaded.settings, documents)
    backend = open_backend(loaded, keep_prompts=True)
    notice(f"{loaded.settings.model.name} · /help lists commands, Ctrl-C stops an answer, Ctrl-D leaves")
    typed = TypedLines()
    with asyncio.Runner() as runner:
        conversation = Conversation(backend, loaded, runner, stream, seed, max_tokens, knowing)
        try:
            _loop(conversation, typed)
        finally:
            knowing.close()
            runner.run(conversation.backend.close())
    if conversation.messages:
        tell_once(conversation.loaded)


def _loop(conversation: Conversation, typed: TypedLines) -> None:
    """One line after the other. A second Ctrl-C may come at any moment, so the whole round is guarded."""
    interrupted = False
    while True:
        try:
            if interrupted:
                interrupted = False
                write_answer("\n")
                notice("Ctrl-D or /exit leaves")
            if not _round(conversation, typed):
                return
        except KeyboardInterrupt:
            interrupted = True


def _round(conversation: Conversation, typed: TypedLines) -> bool:
    """Read a line and act on it; False to leave."""
    try:
        line = typed.read(PROMPT)
    except EOFError:
        write_answer("\n")
        return False
    if line.startswith("/"):
        return obey(conversation, line)
    if fact := asked_to_remember(line):
        remember(fact, conversation.loaded.settings)
    elif line.strip():
        conversation.say(line.strip())
    return True
