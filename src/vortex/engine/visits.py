"""Questions that are asked of the engine's model beside its answers: one sweep of each between the answers' sweeps.

Promises: a question's sweeps run on the engine's thread alone; one that fails or is given up ends with its states
closed, and nobody else notices. Belongs to the engine; `submit` may be called from any thread, under the engine's lock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from vortex.engine.given_text import Question
from vortex.errors import BackendError, VortexError
from vortex.protocols import LanguageModel
from vortex.types import SweepOutput

Asked = Callable[[LanguageModel], Question[Any]]


@dataclass(eq=False, slots=True)
class Visit:
    asked: Asked
    answer: Future[Any] = field(default_factory=Future)
    question: Question[Any] | None = None
    rows: SweepOutput | None = None

    def advance(self, model: LanguageModel) -> bool:
        """One sweep; false when the visit has ended."""
        if self.answer.cancelled():
            self._leave()
            return False
        try:
            if self.question is None:
                self.question = self.asked(model)
                spans = next(self.question)
            else:
                assert self.rows is not None, "rows come from the last sweep"
                spans = self.question.send(self.rows)
            self.rows = model.sweep(spans)
        except StopIteration as end:
            self._settle(end.value, None)
        except Exception as error:  # whatever it was, the loop goes on for everyone else
            self._leave()
            known = isinstance(error, VortexError)
            self._settle(None, error if known else BackendError(f"the model failed while it read a text: {error}"))
        else:
            return True
        return False

    def end(self, error: VortexError) -> None:
        self._leave()
        self._settle(None, error)

    def _leave(self) -> None:
        if self.question is not None:
            self.question.close()

    def _settle(self, value: object, error: Exception | None) -> None:
        if not self.answer.set_running_or_notify_cancel():
            return
        if error is None:
            self.answer.set_result(value)
        else:
            self.answer.set_exception(error)


class Visits:
    """All questions under way, each advanced by one sweep a turn."""

    def __init__(self) -> None:
        self._waiting: deque[Visit] = deque()

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def submit(self, asked: Asked) -> Future[Any]:
        visit = Visit(asked)
        self._waiting.append(visit)
        return visit.answer

    def advance(self, model: LanguageModel) -> None:
        for _ in range(len(self._waiting)):
            visit = self._waiting.popleft()
            if visit.advance(model):
                self._waiting.append(visit)

    def end(self, error: VortexError) -> None:
        while self._waiting:
            self._waiting.popleft().end(error)
