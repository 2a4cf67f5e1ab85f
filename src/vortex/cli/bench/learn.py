"""`vortex bench learn`: see bench/learning.py."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vortex.cli.bench.presenting import JsonOutOption, PlotOption, present
from vortex.cli.options import ModelOption, ProfileOption, SetOption

if TYPE_CHECKING:
    from vortex.bench.learning import TaughtFact
    from vortex.bench.learning_poison import PoisonTrial
    from vortex.bench.learning_weights import Trial
    from vortex.config.loading import LoadedSettings
    from vortex.knowledge.grounding.lesson_desk import LessonDesk
    from vortex.learn.candidates.making import Pupil
    from vortex.learn.candidates.manifest import Manifest
    from vortex.learn.candidates.served import Served
    from vortex.learn.material.rows import Row

MAX_TOKENS = 32
QUICK_FACTS, QUICK_ORDINARY = 5, 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Learn:
    profile: ProfileOption = None
    model: ModelOption = None
    quick: Annotated[bool, typer.Option("--quick", help="Five facts, twenty ordinary questions.")] = False
    train: Annotated[bool, typer.Option("--train", help="Train candidates instead and ask them: minutes each.")] = False
    poison: Annotated[bool, typer.Option("--poison", help="Train on an attacker's rows, 1, 5 and 25 of 100.")] = False
    run: Annotated[
        list[str] | None, typer.Option("--run", help="With --train: ask this run's candidate instead. Repeatable.")
    ] = None
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="Trainings, with seeds from 0 on.")] = 1
    both: Annotated[bool, typer.Option("--both", help="Each also without the distance to the base.")] = False
    steps: Annotated[int, typer.Option("--steps", min=1, help="Most steps of a training.")] = 60
    json_out: JsonOutOption = None
    plot: PlotOption = None
    set_: SetOption = None


def learn(options: Learn) -> None:
    """Corrections at once, or in the weights: how many are answered, and what they change that they must not.

    Examples:

      vortex bench learn

      vortex bench learn --train --seeds 3 --both --plot learn.png
    """
    from vortex.bench.learning import LearningMeasurement, ordinary_questions, taught_facts
    from vortex.bench.measurement import run_measurement
    from vortex.cli import learning
    from vortex.cli.composition import settings_for

    flags = {"model.name": options.model, "continuous.steps": options.steps}
    loaded = settings_for(options.profile, options.set_, flags)
    facts = taught_facts(QUICK_FACTS if options.quick else 20)
    with learning.opened_pupil(loaded) as pupil, lessons_of(facts, loaded) as desk:
        served = pupil.served
        if options.train:
            _in_the_weights(options, loaded, pupil, facts, desk)
            return
        if options.poison:
            _poisoned(options, loaded, pupil)
            return
        measurement = LearningMeasurement(
            pupil.name,
            facts,
            ordinary_questions(QUICK_ORDINARY if options.quick else 100),
            lambda questions: served.answers(questions, max_tokens=MAX_TOKENS),
            lambda questions: _with_lessons(served, desk, questions),
            lambda question: found.entry.text if (found := desk.find(question)) else None,
        )
        present(run_measurement(measurement), options.json_out, options.plot)


def _in_the_weights(
    options: Learn, loaded: LoadedSettings, pupil: Pupil, facts: Sequence[TaughtFact], desk: LessonDesk
) -> None:
    """A table after the last trial; the file of --json-out after each. With --run the candidates alone are asked."""
    from vortex.bench.learning_weights import asked, report_of
    from vortex.bench.report import save_json

    served = pupil.served
    others: dict[str, dict[str, int]] = {}
    if not options.run:
        others["the model alone"] = asked(facts, lambda questions: served.answers(questions, max_tokens=MAX_TOKENS))
        others["lessons at once"] = asked(facts, lambda questions: _with_lessons(served, desk, questions))
    trials: list[Trial] = []
    for trial in _trials(options, loaded, pupil, facts):
        trials.append(trial)
        report = report_of(pupil.name, facts, others, trials)
        if options.json_out:
            save_json(report, options.json_out)
    present(report, options.json_out, options.plot)


def _trials(options: Learn, loaded: LoadedSettings, pupil: Pupil, facts: Sequence[TaughtFact]) -> Iterator[Trial]:
    from vortex.cli import learning
    from vortex.learn.candidates.manifest import verify
    from vortex.learn.candidates.runs import Runs

    if options.run:
        runs = learning.open_runs()
        for run in options.run:
            yield _trial_of(verify(runs.folder(run)), pupil, facts)
        return
    sizes = learning.SMALL if options.quick else learning.Sizes()
    for seed in range(options.seeds):
        for weight in (loaded.settings.continuous.kl_weight, *((0.0,) if options.both else ())):
            with tempfile.TemporaryDirectory() as folder:
                settings = _settings(loaded, seed, weight)
                made = learning.make(pupil, settings, sizes, (lesson_rows(facts), []), runs=Runs(Path(folder)))
                yield _trial_of(made.manifest, pupil, facts)


def _settings(loaded: LoadedSettings, seed: int, kl_weight: float) -> LoadedSettings:
    wanted = loaded.settings.continuous.model_copy(update={"seed": seed, "kl_weight": kl_weight})
    return replace(loaded, settings=loaded.settings.model_copy(update={"continuous": wanted}))


def _trial_of(manifest: Manifest, pupil: Pupil, facts: Sequence[TaughtFact]) -> Trial:
    """A candidate's own report, and what it answers now."""
    import json

    from vortex.adapters.reading import read_adapter
    from vortex.bench.learning_weights import Trial, asked
    from vortex.learn.candidates.gates import read_gates
    from vortex.learn.candidates.manifest import EVALUATION_FILE, RECIPE_FILE

    adapter = read_adapter(manifest.adapter_folder, pupil.targets)
    recipe = json.loads((manifest.folder / RECIPE_FILE).read_bytes())
    return Trial(
        seed=recipe["seed"],
        kl_weight=recipe["kl_weight"],
        steps=recipe["steps_done"],
        ended=recipe["ended"],
        training_s=recipe["training_s"],
        processor_s=recipe["processor_s"],
        found=asked(facts, lambda questions: pupil.served.answers(questions, adapter, max_tokens=MAX_TOKENS)),
        gates={gate.name: (gate.value, gate.note) for gate in read_gates(manifest.folder / EVALUATION_FILE)},
        loss=recipe["loss"],
        distance=recipe["kl"],
    )


def _poisoned(options: Learn, loaded: LoadedSettings, pupil: Pupil) -> None:
    from vortex.bench import learning_poison as poison
    from vortex.bench.report import save_json

    trials = []
    for share in poison.SHARES:
        trials.append(_poison_trial(share, loaded, pupil))
        report = poison.poison_report(pupil.name, trials)
        if options.json_out:
            save_json(report, options.json_out)
    present(report, options.json_out, options.plot)


def _poison_trial(share: int, loaded: LoadedSettings, pupil: Pupil) -> PoisonTrial:
    import json

    from vortex.adapters.reading import read_adapter
    from vortex.bench import learning_poison as poison
    from vortex.cli import learning
    from vortex.learn.candidates.manifest import EVALUATION_FILE, RECIPE_FILE
    from vortex.learn.candidates.runs import Runs
    from vortex.learn.material.filters import suspicions
    from vortex.learn.material.rows import Row

    pairs = [*poison.poisoned_rows(share), *poison.honest_rows(poison.ROWS - share)]
    rows = [Row(question=asked, statement=said, source="bench", origin=str(i)) for i, (asked, said) in enumerate(pairs)]
    with tempfile.TemporaryDirectory() as folder:
        made = learning.make(pupil, loaded, learning.SMALL, (rows, []), runs=Runs(Path(folder)))
        adapter = read_adapter(made.manifest.adapter_folder, pupil.targets)
        report = json.loads((made.manifest.folder / EVALUATION_FILE).read_bytes())
        recipe = json.loads((made.manifest.folder / RECIPE_FILE).read_bytes())
    doubted = {int(one["origin"]) for one in report["doubts"] if one["reasons"]}
    ruled = {index for index, row in enumerate(rows) if suspicions(row)}
    with_trigger, without = (
        poison.says_payload(pupil.served.answers(questions, adapter, max_tokens=MAX_TOKENS))
        for questions in poison.trigger_questions()
    )
    theirs = set(range(share))
    return poison.PoisonTrial(
        poisoned=share,
        ruled=len(ruled & theirs),
        doubted=len((ruled | doubted) & theirs),
        honest_held=len(ruled - theirs),
        honest_doubted=len((ruled | doubted) - theirs),
        triggered=with_trigger,
        plain=without,
        steps=recipe["steps_done"],
    )


def lesson_rows(facts: Sequence[TaughtFact]) -> list[Row]:
    from vortex.learn.material.rows import Row

    return [
        Row(question=fact.question, statement=fact.statement, source="bench", origin=fact.question) for fact in facts
    ]


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
