"""The recall parts of `vortex bench core`: what a bounded memory remembers that a fixed state forgets.

    mqar     pairs stored, then asked; far more of them than heads x key width of the delta rule
    filler   the same with filler between the pairs: does surprise choose better than chance, and as well as all?
    passkey  a needle in filler, trained at 512 tokens, asked at up to 8k

Each task trains small cores from several seeds, with the variants that it compares, and asks them through the slots.
`small` is made for two CPU cores in minutes, `large` for a GPU. Training runs are independent: they may be done one by
one anywhere (`run_one`), their results kept as JSON, and reported together.
"""

from __future__ import annotations

import dataclasses
import json
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from vortex.bench.measurement import CheckFailed
from vortex.bench.report import Curves, Report
from vortex.bench.vblocks.tasks import Batch, MqarShape, Vocabulary, mqar, passkey
from vortex.bench.vblocks.training import RecallResult, RecallRun, recall, train_recall
from vortex.errors import RequestError
from vortex.vblocks.config import CoreConfig

DIGITS = 3  # of a passkey
TEST_SEED = 77
CHANCE_LIMIT = 0.2  # an untrained core that recalls more than this has seen the answer


@dataclass(frozen=True, slots=True, kw_only=True)
class RecallTask:
    """shape: of the core, without the vocabulary. variants: changes to it by name. train: difficulties of the
    curriculum; test: those that are asked. make: (vocabulary, difficulty, sequences, generator) to a batch."""

    name: str
    title: str
    x_label: str
    symbols: int
    shape: Mapping[str, Any]
    variants: Mapping[str, Mapping[str, Any]]
    train: Sequence[int]
    test: Sequence[int]
    make: Callable[[Vocabulary, int, int, torch.Generator], Batch]
    run: Mapping[str, Any]
    test_sequences: int = 64
    fillers: int = 8

    @property
    def vocabulary(self) -> Vocabulary:
        return Vocabulary(symbols=self.symbols, fillers=self.fillers)

    def config(self, variant: str) -> CoreConfig:
        return CoreConfig(vocab_size=self.vocabulary.size, **{**self.shape, **self.variants[variant]})

    def batch(self, difficulty: int, sequences: int, generator: torch.Generator) -> Batch:
        return self.make(self.vocabulary, difficulty, sequences, generator)


_CORE = {
    "width": 64,
    "num_layers": 2,
    "num_heads": 2,
    "key_dim": 16,
    "value_dim": 32,
    "mlp_width": 128,
    "lava_heads": 2,
    "lava_key_dim": 32,
    "lava_value_dim": 32,
    "lava_write_every": 8,
    "lava_writes": 4,
    "lava_foresight": 0.1,
}
_WIDER = {"width": 128, "mlp_width": 256}
_SSM = {"lava_period": 0}
_SMALL_STATE = {"num_heads": 1, "key_dim": 8}


def _pairs(most_queries: int, filler: int) -> Callable[[Vocabulary, int, int, torch.Generator], Batch]:
    def make(vocabulary: Vocabulary, pairs: int, sequences: int, generator: torch.Generator) -> Batch:
        shape = MqarShape(pairs=pairs, queries=min(pairs, most_queries), filler=filler)
        return mqar(vocabulary, shape, sequences, generator)

    return make


def _needle(vocabulary: Vocabulary, num_tokens: int, sequences: int, generator: torch.Generator) -> Batch:
    return passkey(vocabulary, num_tokens, DIGITS, sequences, generator)


def _mqar_task(*, large: bool) -> RecallTask:
    most = 256 if large else 64
    return RecallTask(
        name="mqar",
        title=f"Pairs recalled, of all asked (heads x key width of the delta rule: {32 if large else 8})",
        x_label="pairs stored",
        symbols=512 if large else 128,
        shape={**_CORE, **(_WIDER if large else _SMALL_STATE), "lava_slots": most + most // 2},
        variants={"delta rule + LAVA": {}, "delta rule alone": _SSM},
        train=(16, 32, 64, 128, 256) if large else (8, 16, 32, 64),
        test=(16, 32, 64, 128, 256) if large else (8, 16, 32, 64),
        make=_pairs(64 if large else 32, 0),
        run={"max_steps": 3000} if large else {"max_steps": 300, "tokens_per_step": 3072},
    )


def _filler_task(*, large: bool) -> RecallTask:
    """A pair in eight tokens on average, three of eight written; a delta rule too small for the pairs."""
    most = 64 if large else 24
    slots = most + most // 4
    shape = {**_CORE, **(_WIDER if large else {}), **_SMALL_STATE, "lava_writes": 3, "lava_slots": slots}
    threshold = {"lava_write_on_surprise": True, "lava_surprise_threshold": 0.3}
    return RecallTask(
        name="filler",
        title="Pairs recalled, six tokens of filler for each, in runs of random length",
        x_label="pairs stored",
        symbols=64,
        shape=shape,
        variants={
            "surprise": threshold,
            "surprise, no threshold": {},
            "write gate alone": {"lava_rank": "gate"},
            "random": {"lava_rank": "random"},
            "always": {"lava_writes": 8},
            "always, twice the slots": {"lava_slots": 2 * slots, "lava_writes": 8},
        },
        train=(8, 16, 32, 64) if large else (8, 16, 24),
        test=(16, 32, 64) if large else (8, 16, 24),
        make=_pairs(64, 6),
        run={"max_steps": 2000} if large else {"max_steps": 300, "tokens_per_step": 2048},
        fillers=4,
    )


def _passkey_task(*, large: bool) -> RecallTask:
    slots = {"lava_slots": 64, "lava_write_on_surprise": True, "lava_surprise_threshold": 0.3}
    shape = {**_CORE, **(_WIDER if large else _SMALL_STATE), **slots}
    return RecallTask(
        name="passkey",
        title="A needle of three values in filler, trained at no more than 512 tokens",
        x_label="tokens",
        symbols=64,
        shape=shape,
        variants={"delta rule + LAVA": {}, "delta rule alone": _SSM},
        train=(64, 128, 256, 512),
        test=(512, 1024, 2048, 4096, 8192),
        make=_needle,
        run={"max_batch": 256} | ({"max_steps": 2000} if large else {"max_steps": 300, "tokens_per_step": 4096}),
        test_sequences=64 if large else 24,
    )


TASKS: Mapping[str, Callable[..., RecallTask]] = {
    "mqar": _mqar_task,
    "filler": _filler_task,
    "passkey": _passkey_task,
}


def recall_task(name: str, size: str) -> RecallTask:
    """Raises RequestError for an unknown name or size."""
    if name not in TASKS or size not in {"small", "large"}:
        raise RequestError(f"no recall task {name} of size {size}; there are {', '.join(TASKS)}, small and large")
    return TASKS[name](large=size == "large")


def run_one(task: RecallTask, variant: str, seed: int, say: Callable[[str], None], **changes: Any) -> RecallResult:
    """Train one core and ask it. `changes` replace fields of its RecallRun (device, seconds, max_steps, …)."""
    if variant not in task.variants:
        raise RequestError(f"{task.name} has no variant {variant!r}; it has {', '.join(map(repr, task.variants))}")
    run = RecallRun(
        name=f"{task.name}, {variant}",
        config=task.config(variant),
        make_batch=task.batch,
        difficulties=task.train,
        seed=seed,
        **{**task.run, **changes},
    )
    network, result = train_recall(run, say)
    for difficulty in task.test:
        batch = task.batch(difficulty, task.test_sequences, torch.Generator().manual_seed(TEST_SEED))
        result.accuracy[difficulty] = round(recall(network, batch, run.device)[0], 4)
        if batch.token_ids.shape[1] <= 1024:
            exact, result.path_use = recall(network, batch, run.device, bounded=False)
            result.exact_accuracy[difficulty] = round(exact, 4)
    say(f"{run.name} seed {seed}: {result.steps} steps, {result.accuracy}")
    return result


class RecallMeasurement:
    """A task's variants over several seeds. `kept`: a folder of results that were made before; else they are made."""

    def __init__(
        self,
        task: RecallTask,
        *,
        seeds: Sequence[int],
        say: Callable[[str], None],
        kept: Path | None = None,
        **changes: Any,
    ) -> None:
        self.task, self.seeds, self.say, self.kept, self.changes = task, seeds, say, kept, changes

    def check(self) -> None:
        """An untrained core knows nothing: the answers are not in the question."""
        if self.kept is not None:
            return  # it was checked where they were made
        variant = next(iter(self.task.variants))
        result = run_one(self.task, variant, 0, lambda _: None, **{**self.changes, "max_steps": 1, "device": "cpu"})
        best = max(result.accuracy[d] for d in self.task.test[:1])
        if best > CHANCE_LIMIT:
            raise CheckFailed(f"{self.task.name}: an untrained core recalls {best:.0%}")

    def measure(self) -> Report:
        results = self._kept() if self.kept else self._made()
        return recall_report(self.task, results)

    def _made(self) -> dict[str, list[RecallResult]]:
        return {
            variant: [run_one(self.task, variant, seed, self.say, **self.changes) for seed in self.seeds]
            for variant in self.task.variants
        }

    def _kept(self) -> dict[str, list[RecallResult]]:
        assert self.kept is not None, "a folder was named"
        found: dict[str, list[RecallResult]] = {variant: [] for variant in self.task.variants}
        for path in sorted(self.kept.glob(f"{self.task.name}-*.json")):
            values = json.loads(path.read_text())
            for name in ("accuracy", "exact_accuracy"):
                values[name] = {int(key): value for key, value in values[name].items()}
            variant = values["name"].removeprefix(f"{self.task.name}, ")
            found.setdefault(variant, []).append(RecallResult(**values))
        if not any(found.values()):
            raise RequestError(f"{self.kept} has no results of {self.task.name}")
        return {variant: results for variant, results in found.items() if results}


def recall_report(task: RecallTask, results: Mapping[str, Sequence[RecallResult]]) -> Report:
    """Medians over seeds, the worst seed beside them."""
    medians, worst = _over_seeds(task, results, statistics.median), _over_seeds(task, results, min)
    rows = [
        [name, str(len(runs)), *(f"{medians[name][d]:.1%} ({worst[name][d]:.1%})" for d in task.test)]
        for name, runs in results.items()
    ]
    return Report(
        name=f"core {task.name}",
        title=f"{task.title}: median of seeds (worst)",
        columns=["variant", "seeds", *(f"{d:,}" for d in task.test)],
        rows=rows,
        figures={
            "accuracy_median": medians,
            "accuracy_worst": worst,
            "runs": [dataclasses.asdict(dataclasses.replace(r, curve=[])) for rs in results.values() for r in rs],
        },
        curves=Curves(
            task.x_label,
            "recalled",
            {variant: [(d, medians[variant][d]) for d in task.test] for variant in results},
            y_is_linear=True,
        ),
    )


def _over_seeds(
    task: RecallTask, results: Mapping[str, Sequence[RecallResult]], of: Callable[[list[float]], float]
) -> dict[str, dict[int, float]]:
    return {v: {d: of([r.accuracy[d] for r in rs]) for d in task.test} for v, rs in results.items()}
