"""The last mode of each conversation, so that thresholds can lean towards it. Keyed by a hash; the oldest go."""

from __future__ import annotations

from collections import OrderedDict

CAPACITY = 4096


class Sessions:
    def __init__(self, capacity: int = CAPACITY) -> None:
        self._modes: OrderedDict[str, str] = OrderedDict()
        self._capacity = capacity

    def last_mode(self, conversation: str) -> str:
        return self._modes.get(conversation, "")

    def remember(self, conversation: str, mode: str) -> None:
        self._modes[conversation] = mode
        self._modes.move_to_end(conversation)
        if len(self._modes) > self._capacity:
            self._modes.popitem(last=False)
