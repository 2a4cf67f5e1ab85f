"""Where a conversation is at home: the engine that holds its prefix, unless that one has more than its share of work.

Rendezvous hashing: every engine is scored by a hash of its address and the conversation, and the highest score wins. An
engine that goes moves only its own conversations, one that comes takes only its own; nothing is remembered, so several
gateways agree, and one that starts anew agrees with itself. The load bound sends a conversation to its next best engine
while its home works on more than `bound` times the mean (never fewer than SLACK_REQUESTS: an idle mean is no measure).

Does not do: look at what an engine really keeps in its cache, or move a conversation that is being answered.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from typing import Protocol, TypeVar

SLACK_REQUESTS = 4  # an engine batches this many without making anyone wait much


class Loaded(Protocol):
    """An engine as this sees it: its address, and how many requests it works on for this gateway."""

    @property
    def url(self) -> str: ...

    @property
    def in_flight(self) -> int: ...


Engine = TypeVar("Engine", bound=Loaded)


def ranked(engines: Sequence[Engine], conversation: str) -> list[Engine]:
    """Engines by their score for this conversation, its home first. The order of `engines` does not matter."""
    key = hashlib.blake2b(conversation.encode(errors="replace"), digest_size=16).digest()

    def score(engine: Engine) -> bytes:
        return hashlib.blake2b(engine.url.encode(), key=key, digest_size=8).digest()

    return sorted(engines, key=score, reverse=True)


def home(engines: Sequence[Engine], conversation: str, bound: float) -> Engine:
    """The first of the ranked engines within the load bound. `engines` must not be empty."""
    total = sum(engine.in_flight for engine in engines) + 1  # the one that is to be placed
    most = max(SLACK_REQUESTS, math.ceil(bound * total / len(engines)))
    order = ranked(engines, conversation)
    return next((engine for engine in order if engine.in_flight < most), order[0])
