"""`vortex bench learn`: see bench/learning.py."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vortex.cli.bench.presenting import JsonOutOption, present
from vortex.cli.options import ModelOption, ProfileOption, SetOption

if TYPE_CHECKING:
    from vortex.bench.learning import TaughtFact
    from vortex.cli.learning import Sizes
    from vortex.config.loading import LoadedSettings
    from vortex.knowledge.grounding.lesson_desk import LessonDesk
    from vortex.learn.candidates.making import Made, Pupil
    from vortex.learn.candidates.served import Served

MAX_TOKENS = 32
QUICK_FACTS, QUICK_ORDINARY = 5, 20


def learn(
    *,
    profile: ProfileOption = None,
    model: ModelOption = None,
    quick: Annotated[bool, typer.Option("--quick", help="Five facts, twenty ordinary questions.")] = False,
    train: Annotated[bool, typer.Option("--train", help="Also train one candidate and ask it: minutes.")] = False,
    steps: Annotated[int, typer.Option("--steps", min=1, help="Most steps of that training.")] = 60,
    json_out: JsonOutOption = None,
    set_: SetOption = None,
) -> None:
    """Corrections at once and in the weights: how many are answered, and what they change that they must not."""
    from vortex.adapters.reading import read_adapter
    from vortex.bench.learning import LearningMeasurement, ordinary_questions, taught_facts
    from vortex.bench.measurement import run_measurement
    from vortex.cli import learning
    from vortex.cli.composition import settings_for

    loaded = settings_for(profile, set_, {"model.name": model, "continuous.steps": steps})
    facts = taught_facts(QUICK_FACTS if quick else 20)
    sizes = learning.SMALL if quick else learning.Sizes()
    with (
        learning.opened_pupil(loaded) as pupil,
        lessons_of(facts, loaded) as desk,
        tempfile.TemporaryDirectory() as made_in,
    ):
        served = pupil.served
        made = _train(pupil, loaded, sizes, facts, Path(made_in)) if train else None
        adapter = read_adapter(made.manifest.adapter_folder, pupil.targets) if made else None
        measurement = LearningMeasurement(
            pupil.name,
            facts,
            ordinary_questions(QUICK_ORDINARY if quick else 100),
            lambda questions: served.answers(questions, max_tokens=MAX_TOKENS),
            lambda questions: _with_lessons(served, desk, questions),
            lambda question: found.entry.text if (found := desk.find(question)) else None,
            (lambda questions: served.answers(questions, adapter, max_tokens=MAX_TOKENS)) if adapter else None,
            [(gate.name, gate.value) for gate in made.gates] if made else (),
        )
        present(run_measurement(measurement), json_out, None)


def _with_lessons(served: Served, desk: LessonDesk, questions: Sequence[str]) -> list[str]:
    """As the server asks: the lesson before the question where one is found."""
    from vortex.knowledge.grounding.lesson_desk import with_lesson
    from vortex.types import ChatMessage

    asked = []
    for question in questions:
        messages = (ChatMessage(role="user", content=question),)
        found = desk.find(question)
        asked.append((with_lesson(messages, found) if found else messages)[-1].content)
    return served.answers(asked, max_tokens=MAX_TOKENS)


@contextmanager
def lessons_of(facts: Sequence[TaughtFact], loaded: LoadedSettings) -> Iterator[LessonDesk]:
    """A memory of its own that holds the facts, found by the embedder that the settings name."""
    from vortex.cli.knowing import open_embedder
    from vortex.errors import MissingCapability
    from vortex.knowledge.grounding.lesson_desk import LessonDesk
    from vortex.knowledge.memory.folder import Memory
    from vortex.knowledge.memory.lessons import Lessons

    embedder = open_embedder(loaded.settings, fetch=True)
    if embedder is None:
        raise MissingCapability("lessons are found by an embedder, and none is here: vortex pull all-minilm-l6-v2")
    with tempfile.TemporaryDirectory() as folder:
        memory = Memory(Path(folder))
        lessons = Lessons(memory, embedder, threshold=loaded.settings.continuous.lesson_similarity)
        desk = LessonDesk(memory, lambda: lessons)
        try:
            for fact in facts:
                lessons.teach(fact.question, fact.statement, source="bench")
            yield desk
        finally:
            desk.close()


def _train(pupil: Pupil, loaded: LoadedSettings, sizes: Sizes, facts: Sequence[TaughtFact], folder: Path) -> Made:
    from vortex.cli import learning
    from vortex.learn.candidates.runs import Runs
    from vortex.learn.material.rows import Row

    rows = [
        Row(question=fact.question, statement=fact.statement, source="bench", origin=fact.question) for fact in facts
    ]
    return learning.make(pupil, loaded, sizes, (rows, []), runs=Runs(folder))
