"""Tokens of one choice to text that is final: no half characters, nothing of a stop string, log-probabilities beside.

A token's log-probability comes out with the last of its text, so what belongs to a stop string is never shown.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from vortex.decode.stop_strings import StopMatcher
from vortex.protocols import StreamDecoder
from vortex.types import TextDelta, TokenLogprob


class AnswerText:
    def __init__(self, choice: int, decoder: StreamDecoder, stops: Sequence[str]) -> None:
        self._choice = choice
        self._decoder = decoder
        self._matcher = StopMatcher(stops)
        self._ready: list[str] = []
        self._released_chars = 0
        self._decoded_chars = 0
        self._num_tokens = 0  # since the last delta
        self._logprobs: deque[tuple[int, TokenLogprob]] = deque()  # with the number of characters decoded so far

    @property
    def stopped(self) -> bool:
        """A stop string is complete."""
        return self._matcher.stopped

    @property
    def stop(self) -> str | None:
        """The stop string that is complete."""
        return self._matcher.found

    def push(self, token_id: int, logprob: TokenLogprob | None, *, may_stop: bool) -> None:
        """One more token; with `may_stop` false its text goes out as it is (the answer has a minimum length)."""
        self._num_tokens += 1
        text = self._decoder.push(token_id)
        self._decoded_chars += len(text)
        if logprob is not None:
            self._logprobs.append((self._decoded_chars, logprob))
        self._release(self._matcher.push(text) if may_stop else text)

    def finish(self) -> None:
        """The answer ended without a stop string: half a character and a half stop string are text after all."""
        rest = self._decoder.flush()
        self._decoded_chars += len(rest)
        self._release(self._matcher.push(rest))
        self._release(self._matcher.flush())

    def take(self) -> TextDelta | None:
        """What became final since the last call."""
        logprobs = []
        while self._logprobs and self._logprobs[0][0] <= self._released_chars:
            logprobs.append(self._logprobs.popleft()[1])
        text = "".join(self._ready)
        self._ready.clear()
        if not text and not logprobs:
            return None
        num_tokens, self._num_tokens = self._num_tokens, 0
        return TextDelta(choice=self._choice, text=text, logprobs=tuple(logprobs), num_tokens=num_tokens)

    def _release(self, text: str) -> None:
        self._ready.append(text)
        self._released_chars += len(text)
