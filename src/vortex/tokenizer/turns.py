"""Conversations as a template can take them: no system turn where there is no place for one, strict turns of user and
assistant where it asks for them, and ids of calls that no template refuses."""

from __future__ import annotations

import hashlib
import re
import string
from collections.abc import Sequence
from dataclasses import replace

from vortex.types import ChatMessage

PLAIN_ID = re.compile(r"[A-Za-z0-9]{9}")  # Mistral's templates want nine letters and digits; all others take them
ALPHABET = string.ascii_letters + string.digits
ID_LENGTH = 9
WORD = re.compile(r"\w{4,}")
MAX_WORDS = 16


def plain_id(call_id: str) -> str:
    """Nine letters and digits, the same for the same id; one that is so already stays."""
    if PLAIN_ID.fullmatch(call_id):
        return call_id
    number = int.from_bytes(hashlib.sha256(call_id.encode(errors="surrogatepass")).digest()[:8])
    letters = []
    for _ in range(ID_LENGTH):
        number, place = divmod(number, len(ALPHABET))
        letters.append(ALPHABET[place])
    return "".join(letters)


def with_plain_ids(messages: Sequence[ChatMessage]) -> list[ChatMessage]:
    return [
        replace(
            message,
            tool_calls=tuple(replace(call, id=plain_id(call.id)) for call in message.tool_calls),
            tool_call_id=None if message.tool_call_id is None else plain_id(message.tool_call_id),
        )
        if message.tool_calls or message.tool_call_id is not None
        else message
        for message in messages
    ]


def loses_system(messages: Sequence[ChatMessage], rendered: str) -> bool:
    """Whether a system message's words are nowhere in the text: some templates pass over it without a word."""
    told = " ".join(message.content for message in messages if message.role == "system")
    return not all(word in rendered for word in WORD.findall(told)[:MAX_WORDS])


def folded(messages: Sequence[ChatMessage]) -> list[ChatMessage]:
    """The same words in turns of user and assistant alone, user first, each followed by the other: what the system
    says stands before the next user's words, neighbours are joined."""
    turns: list[ChatMessage] = []
    waiting: list[str] = []  # of the system, for the next user turn
    for message in messages:
        if message.role == "system":
            waiting.append(message.content)
            continue
        if message.role == "user" and waiting:
            message = replace(message, content=_joined([*waiting, message.content]))
            waiting = []
        elif message.role == "assistant" and (waiting or not turns):
            turns.append(ChatMessage(role="user", content=_joined(waiting)))
            waiting = []
        last = turns[-1] if turns else None
        if last is not None and last.role == message.role and message.role in ("user", "assistant"):
            calls = (*last.tool_calls, *message.tool_calls)
            turns[-1] = replace(last, content=_joined([last.content, message.content]), tool_calls=calls)
        else:
            turns.append(message)
    if waiting:
        if turns and turns[-1].role == "user":
            turns[-1] = replace(turns[-1], content=_joined([turns[-1].content, *waiting]))
        else:
            turns.append(ChatMessage(role="user", content=_joined(waiting)))
    return turns


def _joined(texts: Sequence[str]) -> str:
    return "\n\n".join(text for text in texts if text)
