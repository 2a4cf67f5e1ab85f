"""From rows to a candidate: train, write the adapter in peft's format, measure it as it would be served, seal the run.

Promises that a run in quarantine is whole or absent, that a training goes on where a kill left it when it is asked for
again with the same rows and recipe, and that two trainings never run at once. Promotes nothing.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vortex import __version__
from vortex.adapters.peft_config import PeftConfig
from vortex.adapters.reading import ModelTargets, read_adapter
from vortex.adapters.writing import write_adapter
from vortex.errors import RequestError, StorageError, TrainingStopped
from vortex.learn.candidates.doubts import doubts_about
from vortex.learn.candidates.gates import Gate, Limits, gates_of
from vortex.learn.candidates.manifest import (
    ADAPTER_FOLDER,
    DATA_FILE,
    EVALUATION_FILE,
    RECIPE_FILE,
    Manifest,
    read_manifest,
    seal,
)
from vortex.learn.candidates.measuring import Measuring, Questions, answers
from vortex.learn.candidates.runs import Runs, new_run_id
from vortex.learn.candidates.served import Served
from vortex.learn.material.phrasings import phrasings
from vortex.learn.material.rows import Row
from vortex.learn.material.sisters import sisters
from vortex.records.lock import FileLock

if TYPE_CHECKING:
    from vortex.training.low_rank.layers import LowRankParameters
    from vortex.training.low_rank.loop import Example, Recipe, Ticked

SISTERS = 24  # of each lesson, of which a step sees some
BYTES_OF_AN_ACTIVATION = 4  # of what goes into and comes out of each layer, kept for the way back
BYTES_OF_A_LOGIT = 16  # logits, their softmax and the gradient, in float32, and the base's beside them


@dataclass(frozen=True, slots=True, kw_only=True)
class Pupil:
    """The model that learns. targets: what may change, with the identity of the served weights.

    open_network: the same weights as a module of the transformers library, in bfloat16 or float32.
    num_weights: for the estimate of memory; systems: system messages it is met with.
    """

    name: str
    served: Served
    targets: ModelTargets
    identity: str
    open_network: Callable[[], Any]
    systems: Sequence[str] = ("",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How to train and judge. kept: rows the base is held on. memory_bytes: most that a step may take; 0: what is free.
    kinds: ends of the names of layers to change; none: all linears. held_from: sources of texts among `kept`."""

    recipe: Recipe
    limits: Limits
    questions: Questions
    kept: Sequence[Sequence[int]]
    rank: int = 8
    alpha: float = 16.0
    kinds: Sequence[str] = ()
    max_phrasings: int = 8
    free_bytes: int = 0
    held_from: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Made:
    manifest: Manifest
    gates: list[Gate]


@dataclass(slots=True)
class Making:
    """say: a line of progress. on_tick: after every step."""

    runs: Runs
    pupil: Pupil
    plan: Plan
    say: Callable[[str], None]
    on_tick: Callable[[Ticked], None] | None = None
    notes: dict[str, Any] = field(default_factory=dict)

    def make(self, lessons: Sequence[Row], earlier: Sequence[Row] = ()) -> Made:
        """earlier: lessons of runs before this one, which are rehearsed and asked again.

        Raises TrainingStopped, StorageError, RequestError (another training runs), ConfigError, AdapterError.
        """

        def refuse() -> None:
            raise RequestError("another training is running here; `vortex learn status` says which")

        with FileLock(self.runs.root / "training.lock", on_wait=refuse):
            return self._make(lessons, earlier)

    def _make(self, lessons: Sequence[Row], earlier: Sequence[Row]) -> Made:
        run_id, began = new_run_id(), time.monotonic()
        recipe = self._recipe_note([*lessons, *earlier])
        work = self.runs.root / "training" / _digest(recipe)
        self.runs.journal.note(
            "train", run_id=run_id, model=self.pupil.name, lessons=len(lessons), earlier=len(earlier)
        )
        try:
            parameters, ended = self._train([*lessons, *earlier], recipe, work)
            with self.runs.making(run_id) as draft:
                self._write_adapter(draft / ADAPTER_FOLDER, parameters)
                adapter = read_adapter(draft / ADAPTER_FOLDER, self.pupil.targets)
                measuring = Measuring(self.pupil.served, adapter, self.plan.questions, self.say)
                found = measuring.measure(lessons, earlier)
                gates = gates_of(found.gates, self.plan.limits)
                spent = {"spent_s": round(time.monotonic() - began, 1), **ended}
                _write(draft / RECIPE_FILE, {**recipe, **spent, "version": __version__})
                report = {
                    "gates": [gate.to_json() for gate in gates],
                    "doubts": [doubt.to_json() for doubt in doubts_about(self.pupil.served, lessons, answers)],
                    "figures": found.figures,
                    "answers": found.answers,
                }
                _write(draft / EVALUATION_FILE, report)
                lines = [json.dumps(row.to_json(), ensure_ascii=False) for row in [*lessons, *earlier]]
                (draft / DATA_FILE).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
                sources = sorted({*self.plan.held_from, *(row.source for row in (*lessons, *earlier))})
                seal(draft, {**self._predicate(run_id, adapter.hash, found.alone), "sources": sources})
        except OSError as error:
            raise StorageError(f"the run cannot be written ({error.strerror or error}); free some space") from error
        shutil.rmtree(work, ignore_errors=True)
        return Made(read_manifest(self.runs.quarantine / run_id), gates)

    def _train(self, rows: Sequence[Row], note: dict[str, Any], work: Path) -> tuple[LowRankParameters, dict[str, Any]]:
        from vortex.training.low_rank.layers import attach
        from vortex.training.low_rank.loop import Consolidation

        plan = self.plan
        examples = self._examples(rows)
        self._check_memory(examples)
        self.say("loading the weights to train on")
        network = self.pupil.open_network()
        parameters = attach(
            network,
            self.pupil.targets.layers,
            rank=plan.rank,
            alpha=plan.alpha,
            seed=plan.recipe.seed,
            kinds=plan.kinds,
        )
        loop = Consolidation(
            network, parameters, examples, plan.kept, plan.recipe, self._sisters(rows), work, note, self.on_tick
        )
        began = time.process_time()
        progress = loop.run()
        return parameters, {
            "processor_s": round(time.process_time() - began, 1),
            "steps_done": progress.step,
            "resumed_at": loop.resumed_at,
            "ended": loop.ended,
            "training_s": round(progress.spent_s, 1),
            "loss": progress.curve,
            "kl": progress.held_out,
        }

    def _examples(self, rows: Sequence[Row]) -> list[Example]:
        from vortex.training.low_rank.loop import Example

        found, served, systems = [], self.pupil.served, self.pupil.systems
        for fact, row in enumerate(rows):
            for index, question in enumerate(phrasings(row.question, self.plan.max_phrasings)):
                ids, answer_from = served.answer_ids(question, row.statement, systems[index % len(systems)])
                found.append(Example(ids, answer_from, fact))
        return found

    def _sisters(self, rows: Sequence[Row]) -> list[Example]:
        from vortex.training.low_rank.loop import Example

        found, taught = [], " ".join(row.question for row in rows)
        for fact, row in enumerate(rows):
            for index, (question, statement) in enumerate(sisters(row.question, row.statement, SISTERS, taught)):
                text = phrasings(question, self.plan.max_phrasings)
                ids, answer_from = self.pupil.served.answer_ids(text[index % len(text)], statement)
                found.append(Example(ids, answer_from, fact))
        return found

    def _check_memory(self, examples: Sequence[Example]) -> None:
        plan = self.plan
        longest = max((len(example.ids) - example.answer_from for example in examples), default=0)
        held = max([plan.recipe.kl_tokens, *map(len, plan.kept)]) if plan.kept else 0
        needed = BYTES_OF_A_LOGIT * (longest * plan.recipe.batch + held) * self.pupil.served.model.vocab_size
        widest = (
            max((len(example.ids) for example in examples), default=0) * (plan.recipe.batch + plan.recipe.sisters)
            + held
        )
        needed += BYTES_OF_AN_ACTIVATION * widest * sum(map(sum, self.pupil.targets.layers.values()))
        if plan.free_bytes and needed > plan.free_bytes:
            raise TrainingStopped(
                f"a step takes about {needed / 1e9:.1f} GB and {plan.free_bytes / 1e9:.1f} may be used; lower "
                "continuous.batch_tokens, or raise continuous.memory_mb"
            )

    def _write_adapter(self, folder: Path, parameters: LowRankParameters) -> None:
        config = PeftConfig(rank=self.plan.rank, alpha=self.plan.alpha, base=self.pupil.name)
        write_adapter(folder, config, parameters.pairs(), self.pupil.identity)

    def _recipe_note(self, rows: Sequence[Row]) -> dict[str, Any]:
        plan = self.plan
        return {
            **asdict(plan.recipe),
            "rank": plan.rank,
            "alpha": plan.alpha,
            "kinds": list(plan.kinds),
            "max_phrasings": plan.max_phrasings,
            "kept_rows": len(plan.kept),
            "model": self.pupil.name,
            "base": self.pupil.identity,
            "rows": [row.digest for row in rows],
            **self.notes,
        }

    def _predicate(self, run_id: str, adapter_hash: str, alone: Sequence[str]) -> dict[str, Any]:
        return {
            "run_id": run_id,
            "model": self.pupil.name,
            "base": self.pupil.identity,
            "adapter_hash": adapter_hash,
            "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "alone": list(alone),
        }


def _digest(recipe: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()[:16]


def _write(path: Path, values: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(values, ensure_ascii=False, indent=1), encoding="utf-8")
