"""The commands of a conversation: lines that begin with a slash, in any case. A leading space sends a line as text."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from vortex.cli.grounded_turn import remember
from vortex.cli.terminal import notice, warn
from vortex.config.entries import nearest
from vortex.config.loading import LoadedSettings
from vortex.errors import StorageError, VortexError
from vortex.knowledge.memory.requests import asked_to_remember
from vortex.records.atomic import atomic_write
from vortex.types import ChatMessage

MAX_SAVED_BYTES = 16 << 20
ROLES = frozenset({"system", "user", "assistant"})


class Conversation(Protocol):
    """What a command works on (`conversation.py`)."""

    messages: list[ChatMessage]
    loaded: LoadedSettings

    def say(self, text: str) -> None: ...

    def change_model(self, name: str) -> None: ...


@dataclass(frozen=True, slots=True)
class SlashCommand:
    """`run(conversation, argument)`; argument is what was typed behind the name, stripped."""

    usage: str
    meaning: str
    run: Callable[[Conversation, str], None]


def obey(conversation: Conversation, line: str) -> bool:
    """Obey a slash command; False to leave."""
    name, _, argument = line.strip().partition(" ")
    name = name.lower()
    if name in {"/exit", "/quit"}:
        return False
    command = COMMANDS.get(name)
    if command is None:
        known = {*COMMANDS, "/exit", "/quit"}
        warn(f"no command {name}{nearest(name, known)}; /help lists them (a leading space sends it as text)")
        return True
    try:
        command.run(conversation, argument.strip())
    except VortexError as error:
        warn(str(error))
    return True


def _help(_: Conversation, __: str) -> None:
    for command in COMMANDS.values():
        notice(f"{command.usage:16} {command.meaning}")
    notice(f"{'/exit':16} leave (also /quit and Ctrl-D)")


def _clear(conversation: Conversation, _: str) -> None:
    conversation.messages.clear()
    notice("forgotten")


def _retry(conversation: Conversation, _: str) -> None:
    """The last question again; without --seed, another seed is drawn where answers are drawn."""
    if len(conversation.messages) < 2:
        warn("there is no question to ask again")
        return
    question = conversation.messages[-2]
    del conversation.messages[-2:]
    conversation.say(question.content)


def _system(conversation: Conversation, text: str) -> None:
    others = [message for message in conversation.messages if message.role != "system"]
    if text:
        conversation.messages[:] = [ChatMessage(role="system", content=text), *others]
        notice("the model is told that from now on (/system alone takes it back)")
    else:
        conversation.messages[:] = others
        notice("no system message of yours")


def _model(conversation: Conversation, name: str) -> None:
    if not name:
        notice(conversation.loaded.settings.model.name)
        return
    conversation.change_model(name)
    notice(f"{name} answers from now on; the conversation goes on")


def _save(conversation: Conversation, path: str) -> None:
    if not path:
        warn("name a file: /save talk.json")
        return
    rows = [{"role": message.role, "content": message.content} for message in conversation.messages]
    with atomic_write(Path(path).expanduser()) as file:
        file.write(json.dumps({"messages": rows}, ensure_ascii=False, indent=1).encode())
    notice(f"{len(rows)} messages are in {path}")


def _load(conversation: Conversation, path: str) -> None:
    if not path:
        warn("name a file: /load talk.json")
        return
    conversation.messages[:] = read_messages(Path(path).expanduser())
    notice(f"{len(conversation.messages)} messages from {path}")


def _remember(conversation: Conversation, text: str) -> None:
    remember(asked_to_remember(f"/remember {text}") or text, conversation.loaded.settings)


def read_messages(path: Path) -> list[ChatMessage]:
    """A conversation that /save wrote. Raises StorageError with the reason for anything else."""
    try:
        if path.stat().st_size > MAX_SAVED_BYTES:
            raise StorageError(f"{path} is larger than a conversation can be ({MAX_SAVED_BYTES >> 20} MB)")
        saved: Any = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise StorageError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise StorageError(f"{path} is no conversation that /save wrote: {error}") from error
    rows = saved.get("messages") if isinstance(saved, dict) else None
    if not isinstance(rows, list) or not all(_is_message(row) for row in rows):
        raise StorageError(f"{path} is no conversation that /save wrote: it has no list of messages with role and text")
    return [ChatMessage(role=row["role"], content=row["content"]) for row in rows]


def _is_message(row: Any) -> bool:
    return isinstance(row, dict) and row.get("role") in ROLES and isinstance(row.get("content"), str)


COMMANDS: dict[str, SlashCommand] = {
    "/help": SlashCommand("/help", "show this", _help),
    "/retry": SlashCommand("/retry", "ask the last question again", _retry),
    "/system": SlashCommand("/system TEXT", "tell the model how to answer", _system),
    "/model": SlashCommand("/model NAME", "let another model answer", _model),
    "/save": SlashCommand("/save FILE", "write the conversation to a file", _save),
    "/load": SlashCommand("/load FILE", "go on with a saved conversation", _load),
    "/remember": SlashCommand("/remember FACT", "write a fact down (also: remember that …)", _remember),
    "/clear": SlashCommand("/clear", "forget the conversation", _clear),
}
