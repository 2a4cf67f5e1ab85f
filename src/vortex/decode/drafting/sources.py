"""Drafters under watch: one that raises, names ids outside the vocabulary, or takes more time than it saves is left out
and counted, and the answer goes on as if it were not there.

A call that hangs cannot be interrupted: it is slow once, and then its drafter rests.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from vortex.decode.drafting.drafter import MAX_EVIDENCE, AnswerSoFar, Drafter, DraftPath, Proposal

MAX_FAILURES = 3
SLACK_S = 0.02  # what a drafter may take before it has saved anything ...
SLACK_SHARE = 0.05  # ... and of the time of all sweeps
FIRST_REST_SWEEPS = 64

_log = logging.getLogger(__name__)


class Source:
    """One drafter of an engine. `failures`, `bad_ids`, `rests` count for its status."""

    def __init__(self, number: int, drafter: Drafter) -> None:
        self.number = number
        self.drafter = drafter
        self.failures = self.bad_ids = self.rests = 0
        self._spent_s = self._earned_s = self._sweeps_s = 0.0
        self._resting_sweeps = 0

    @property
    def is_off(self) -> bool:
        """It has failed too often to be asked again."""
        return self.failures + self.bad_ids >= MAX_FAILURES

    @property
    def is_resting(self) -> bool:
        return self._resting_sweeps > 0

    def begin(self, answer: AnswerSoFar) -> WatchedPath | None:
        if self.is_off:
            return None
        try:
            return WatchedPath(self, self.drafter.begin(answer))
        except Exception:
            self.failed()
            return None

    def earned(self, saved_s: float) -> None:
        """A guess of the source stood and saved that much."""
        self._earned_s += saved_s

    def swept(self, seconds: float) -> None:
        """A sweep took that long."""
        self._sweeps_s += seconds
        if self._resting_sweeps:
            self._resting_sweeps -= 1
        elif self._spent_s > SLACK_S + self._earned_s + SLACK_SHARE * self._sweeps_s:
            self._resting_sweeps = FIRST_REST_SWEEPS << min(self.rests, 20)
            self.rests += 1
            self._spent_s = self._earned_s = self._sweeps_s = 0.0

    def failed(self) -> None:
        self.failures += 1
        _log.debug("drafter %s failed", self.drafter.name, exc_info=True)

    def spent(self, seconds: float) -> None:
        self._spent_s += seconds


class WatchedPath:
    """A drafter's path in one answer. After a failure it says nothing more."""

    def __init__(self, source: Source, path: DraftPath) -> None:
        self.source = source
        self._path: DraftPath | None = path

    def extend(self, token_ids: Sequence[int]) -> None:
        if self._path is None:
            return
        started = time.perf_counter()
        try:
            self._path.extend(token_ids)
        except Exception:
            self._path = None
            self.source.failed()
        self.source.spent(time.perf_counter() - started)

    def propose(self, ahead: Sequence[int], limit: int, vocab_size: int) -> Proposal | None:
        if self._path is None or self.source.is_resting:
            return None
        started = time.perf_counter()
        try:
            proposal = self._path.propose(ahead, limit)
        except Exception:
            self._path = None
            self.source.failed()
            return None
        finally:
            self.source.spent(time.perf_counter() - started)
        if proposal is None or not len(proposal.token_ids):
            return None
        if not _is_sound(proposal, limit, vocab_size):
            self.source.bad_ids += 1
            self._path = None
            return None
        return proposal

    def receive_heads(self, head_logits: Callable[[], np.ndarray]) -> None:
        """Computed here, on the path's account, and only where it is listened to."""
        receive = getattr(self._path, "receive_heads", None)
        if receive is not None and not self.source.is_resting:
            with self._watched():
                receive(head_logits())

    def close(self) -> None:
        if self._path is not None:
            with self._watched():
                self._path.close()
        self._path = None

    @contextmanager
    def _watched(self) -> Iterator[None]:
        started = time.perf_counter()
        try:
            yield
        except Exception:
            self._path = None
            self.source.failed()
        finally:
            self.source.spent(time.perf_counter() - started)


def _is_sound(proposal: Proposal, limit: int, vocab_size: int) -> bool:
    token_ids, evidence = proposal.token_ids, proposal.evidence
    return (
        len(evidence) == len(token_ids) <= limit
        and min(token_ids) >= 0
        and max(token_ids) < vocab_size
        and min(evidence) >= 0
        and max(evidence) <= MAX_EVIDENCE
    )
