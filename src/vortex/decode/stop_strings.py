"""Stop strings in a stream of text: nothing of one is let out, and nothing is held back without need.

The stop that is complete first ends the text; of several complete at the same character, the one that begins first.
So the result depends on the text alone, never on how it was cut into pieces. Characters, not bytes: whoever feeds it
never passes half a character.
"""

from __future__ import annotations

from collections.abc import Sequence


class StopMatcher:
    def __init__(self, stops: Sequence[str]) -> None:
        assert all(stops), "an empty stop string would end every text before it begins"
        self._stops = tuple(stops)
        self._held = ""
        self.stopped = False
        self.found: str | None = None  # the stop that ended the text

    @property
    def held(self) -> str:
        """Text that could still become a stop string."""
        return self._held

    def push(self, text: str) -> str:
        """More text; returns what is now final. After `stopped` nothing more comes out."""
        if self.stopped:
            return ""
        text = self._held + text
        cut = self._find(text)
        if cut is not None:
            self.stopped, self._held = True, ""
            return text[:cut]
        keep = self._longest_beginning(text)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]

    def flush(self) -> str:
        """The text ended: what was held back is text after all."""
        text, self._held = self._held, ""
        return text

    def _find(self, text: str) -> int | None:
        """Where to cut: the start of the match that ends first, the longest of those."""
        matches = [(start + len(stop), start, stop) for stop in self._stops if (start := text.find(stop)) >= 0]
        if not matches:
            return None
        _, start, self.found = min(matches)
        return start

    def _longest_beginning(self, text: str) -> int:
        """Length of the longest end of `text` that begins a stop string without completing it."""
        longest = 0
        for stop in self._stops:
            for length in range(min(len(stop) - 1, len(text)), longest, -1):
                if text.endswith(stop[:length]):
                    longest = length
                    break
        return longest
