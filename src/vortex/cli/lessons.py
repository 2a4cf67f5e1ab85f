"""Composition of lessons at once: the memory of this working folder, an embedder if there is one, what to believe."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from vortex.config.schema import Settings

if TYPE_CHECKING:
    from vortex.knowledge.grounding.lesson_desk import FindsLessons, LessonDesk


def open_lesson_desk(settings: Settings) -> LessonDesk | None:
    """None where continuous.lessons is off. Opens nothing until a lesson is there."""
    from vortex.cli.knowing import open_memory
    from vortex.knowledge.grounding.lesson_desk import LessonDesk

    if not settings.continuous.lessons:
        return None
    return LessonDesk(open_memory(), lambda: _finder(settings), _suspicions, _covered_by(settings.model.name))


def _finder(settings: Settings) -> FindsLessons:
    from vortex.cli.knowing import open_embedder, open_memory
    from vortex.knowledge.grounding.lesson_desk import SameQuestion
    from vortex.knowledge.memory.lessons import Lessons

    embedder = open_embedder(settings, fetch=True)
    if embedder is None:
        return SameQuestion(open_memory())
    return Lessons(open_memory(), embedder, threshold=settings.continuous.lesson_similarity)


def _suspicions(question: str, statement: str) -> list[str]:
    from vortex.learn.material.filters import suspicions
    from vortex.learn.material.rows import Row

    return suspicions(Row(question=question, statement=statement, source="feedback", origin=""))


def _covered_by(model: str) -> Callable[[], frozenset[str]]:
    """Origins of the lessons that the promoted weights answer alone, as their gates showed."""
    known: dict[str, frozenset[str]] = {}

    def covered() -> frozenset[str]:
        from vortex.cli.learning import open_runs
        from vortex.errors import AdapterError, CandidateRefused
        from vortex.learn.candidates.manifest import read_manifest

        runs = open_runs()
        try:
            current = runs.current(model).read()
            if current is None or not current.run_id:
                return frozenset()
            if current.run_id not in known:
                manifest = read_manifest(runs.promoted / current.run_id)
                known[current.run_id] = frozenset(map(str, manifest.predicate.get("alone", ())))
        except (AdapterError, CandidateRefused):
            return frozenset()  # the server says what is wrong with it; the lessons stay in the prompt
        return known[current.run_id]

    return covered
