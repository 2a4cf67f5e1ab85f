"""Consolidation: facts go into low-rank layers while the rest of the model is held where it was.

Each step is the loss of some corrected answers, plus `kl_weight` times the distance to the base on ordinary answers
and running text: templates bring the paraphrases, the distance saves the model (docs/learning.md has the table). A
fact whose phrasings are all under `skip_under` rests; the training ends when the mean is under `stop_at`, at the
steps, or when its minutes are over. Resumable: what a step sees follows from the seed, the step and the kept losses.
Writes only states (training/state.py). Shapes: B rows, N places that count, V vocabulary.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from vortex.errors import ConfigError, TrainingStopped
from vortex.training.loop import explained_memory
from vortex.training.low_rank.layers import LowRankParameters
from vortex.training.low_rank.packed import kept_apart, logits_at, packed
from vortex.training.state import Progress, newest_state, read_head, restore, save_state

CLIP = 1.0
WARM_UP_STEPS = 4


@dataclass(frozen=True, slots=True)
class Example:
    """A question with its corrected answer. answer_from: the first token of the answer. fact: which lesson it is of."""

    ids: Sequence[int]
    answer_from: int
    fact: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """steps: most of them. minutes: 0: no limit. phrasings: of a fact in one pass. kl_tokens: of kept rows a step.

    sisters: of the step's facts, on whose answers the base is held as well.
    """

    steps: int = 120
    minutes: float = 0.0
    learning_rate: float = 1e-3
    kl_weight: float = 1.0
    batch: int = 8
    kl_tokens: int = 128
    sisters: int = 6
    phrasings: int = 3
    skip_under: float = 0.02
    stop_at: float = 0.02
    save_every: int = 10
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Ticked:
    """Told after every step. loss: of the answers, nats a token; kl: nats a token."""

    step: int
    steps: int
    loss: float
    kl: float
    mean: float
    spent_s: float


@dataclass(slots=True)
class Consolidation:
    """model: of the transformers library, with `parameters` attached. kept: rows the base's words are held on. sisters:
    answers on which they are, each of one of the facts.

    state: folder for states; None: none are kept. recipe_note: what a resumed training must share.
    """

    model: Any
    parameters: LowRankParameters
    examples: Sequence[Example]
    kept: Sequence[Sequence[int]]
    recipe: Recipe
    sisters: Sequence[Example] = ()
    state: Path | None = None
    recipe_note: dict[str, Any] = field(default_factory=dict)
    on_tick: Callable[[Ticked], None] | None = None
    progress: Progress = field(default_factory=Progress)
    losses: dict[int, float] = field(default_factory=dict)
    ended: str = ""
    resumed_at: int = 0

    def run(self) -> Progress:
        """Raises TrainingStopped, StorageError, ConfigError. `ended` says why it ended."""
        if not self.examples:
            raise ConfigError(
                "there is nothing to learn: correct an answer, or `vortex learn ingest` a file of lessons"
            )
        optimizer = torch.optim.AdamW(self.parameters.parameters(), lr=self.recipe.learning_rate, weight_decay=0.0)
        self._resume(optimizer)
        began = time.monotonic() - self.progress.spent_s
        self.model.eval()  # nothing is dropped
        with kept_apart(self.model):
            self._go_on(optimizer, began)
        return self.progress

    def _go_on(self, optimizer: torch.optim.Optimizer, began: float) -> None:
        while not self._is_over():
            loss, kl = self._step(optimizer)
            self.progress.step += 1
            self.progress.spent_s = time.monotonic() - began
            self.progress.curve.append((self.progress.step, round(loss, 6)))
            self.progress.held_out.append((self.progress.step, round(kl, 6)))
            if self.on_tick is not None:
                mean = self._mean()
                self.on_tick(Ticked(self.progress.step, self.recipe.steps, loss, kl, mean, self.progress.spent_s))
            if self.progress.step % self.recipe.save_every == 0:
                self._save(optimizer)

    def _is_over(self) -> bool:
        recipe, progress = self.recipe, self.progress
        if progress.step >= recipe.steps:
            self.ended = f"all {recipe.steps} steps"
        elif recipe.minutes and progress.spent_s >= 60 * recipe.minutes:
            self.ended = f"{recipe.minutes:g} minutes"
        elif len(self.losses) == len(self.examples) and self._mean() < recipe.stop_at:
            self.ended = f"mean loss under {recipe.stop_at:g}"
        return bool(self.ended)

    def _mean(self) -> float:
        return sum(self.losses.values()) / max(1, len(self.losses))

    def _step(self, optimizer: torch.optim.Optimizer) -> tuple[float, float]:
        recipe, step = self.recipe, self.progress.step
        for group in optimizer.param_groups:
            group["lr"] = recipe.learning_rate * min(1.0, (step + 1) / WARM_UP_STEPS)
        chosen = self._chosen(step)
        with explained_memory(step, recipe.batch, max(len(self.examples[index].ids) for index in chosen)):
            optimizer.zero_grad(set_to_none=True)
            loss, kl = self._learn(chosen, self._held(step), self._beside(step, chosen))
        total = loss + recipe.kl_weight * kl
        norm = torch.nn.utils.clip_grad_norm_(self.parameters.parameters(), CLIP)
        if not math.isfinite(total) or not math.isfinite(float(norm)):
            state = newest_state(self.state) if self.state else None
            kept = f"the state of {state.name} is kept" if state else "nothing was saved yet"
            raise TrainingStopped(f"the loss at step {step} is no number; {kept}; lower continuous.learning_rate")
        optimizer.step()
        return loss, kl

    def _chosen(self, step: int) -> list[int]:
        """Examples of this step: passes over the facts that do not rest, some phrasings of each, shuffled."""
        by_fact: dict[int, list[int]] = {}
        for index, example in enumerate(self.examples):
            by_fact.setdefault(example.fact, []).append(index)
        awake = {
            fact: indices
            for fact, indices in by_fact.items()
            if any(self.losses.get(index, math.inf) >= self.recipe.skip_under for index in indices)
        }
        chance = np.random.default_rng((self.recipe.seed, step))
        pool: list[int] = []
        for indices in (awake or by_fact).values():
            # what was seen least well first: a phrasing that rests gives its place to one that does not
            order = sorted(indices, key=lambda index: (-self.losses.get(index, math.inf), chance.random()))
            pool += order[: self.recipe.phrasings]
        chance.shuffle(pool)
        return pool[: self.recipe.batch]

    def _held(self, step: int) -> list[Sequence[int]]:
        """Some kept rows, of `kl_tokens` tokens together at most."""
        recipe = self.recipe
        if not self.kept or not recipe.kl_weight:
            return []
        order = np.random.default_rng((recipe.seed, step, 1)).permutation(len(self.kept))
        sums = np.cumsum([len(self.kept[index]) for index in order])
        count = max(1, int(np.searchsorted(sums, recipe.kl_tokens, side="right")))
        return [self.kept[index] for index in order[:count]]

    def _beside(self, step: int, chosen: Sequence[int]) -> list[Example]:
        """Sisters of the step's facts, in turns."""
        recipe = self.recipe
        facts = list(dict.fromkeys(self.examples[index].fact for index in chosen))
        pools = [[each for each in self.sisters if each.fact == fact] for fact in facts]
        pools = [pool for pool in pools if pool]
        if not pools or not recipe.kl_weight:
            return []
        chance = np.random.default_rng((recipe.seed, step, 2))
        turns = [pools[turn % len(pools)] for turn in range(recipe.sisters)]
        return [pool[int(chance.integers(len(pool)))] for pool in turns]

    def _learn(
        self, chosen: Sequence[int], held: Sequence[Sequence[int]], beside: Sequence[Example]
    ) -> tuple[float, float]:
        """The loss of some answers, and the distance on kept rows and sisters, their gradients in one pass back."""
        examples = [self.examples[index] for index in chosen]
        rows = packed([*(each.ids for each in (*examples, *beside)), *held], self._device)
        starts, count = rows.starts, len(examples)
        answered, lengths = _answers_of(examples, starts[:count])
        watched, spans = _answers_of(beside, starts[count : count + len(beside)])
        watched += range(rows.num_tokens - sum(map(len, held)), rows.num_tokens)
        logits_NV = logits_at(self.model, rows, torch.tensor([*answered, *watched], device=self._device))
        targets_N = rows.ids_1M[0, torch.tensor(answered, device=self._device) + 1]
        losses_N = F.cross_entropy(logits_NV[: len(answered)], targets_N, reduction="none")
        each_B = torch.stack([part.mean() for part in losses_N.split(lengths)])
        zero = torch.zeros((), device=self._device)
        total, kl = each_B.mean(), zero
        if watched:
            distances = self._distances(logits_NV[len(answered) :], held, beside).split(
                [*spans, len(watched) - sum(spans)]
            )
            kl = distances[-1].mean() if held else zero
            apart = torch.stack([each.mean() for each in distances[:-1]]).mean() if beside else zero
            total = total + self.recipe.kl_weight * (kl + apart)
        torch.autograd.backward(total)
        self.losses.update(zip(chosen, each_B.tolist(), strict=True))
        self.progress.tokens += len(answered)
        return float(each_B.detach().mean()), float(kl.detach())

    def _distances(
        self, ours_NV: torch.Tensor, held: Sequence[Sequence[int]], beside: Sequence[Example]
    ) -> torch.Tensor:
        """KL(base || adapted) in nats, [N]: at the sisters' answers, then at every token of the kept rows."""
        rows = packed([*(each.ids for each in beside), *held], self._device)
        places, _ = _answers_of(beside, rows.starts[: len(beside)])
        places += range(rows.num_tokens - sum(map(len, held)), rows.num_tokens)
        with torch.no_grad(), self.parameters.off():
            base_NV = logits_at(self.model, rows, torch.tensor(places, device=self._device)).log_softmax(-1)
        return F.kl_div(ours_NV.log_softmax(-1), base_NV, reduction="none", log_target=True).sum(-1)

    @property
    def _device(self) -> torch.device:
        return next(iter(self.parameters.parameters())).device

    def _resume(self, optimizer: torch.optim.Optimizer) -> None:
        state = newest_state(self.state) if self.state else None
        if state is None:
            return
        progress, recipe = read_head(state)
        losses = recipe.pop("losses")
        if recipe != self.recipe_note:
            raise ConfigError(
                f"{self.state} holds a training with another recipe or other data; remove it to begin anew"
            )
        restore(state, self.parameters, optimizer, self._device)
        self.progress, self.resumed_at = progress, progress.step
        self.losses = {int(index): float(value) for index, value in losses.items()}

    def _save(self, optimizer: torch.optim.Optimizer) -> None:
        if self.state is not None:
            note = {**self.recipe_note, "losses": {str(index): value for index, value in self.losses.items()}}
            save_state(self.state, self.progress, self.parameters, optimizer, note)


def _answers_of(examples: Sequence[Example], starts: Sequence[int]) -> tuple[list[int], list[int]]:
    """Places in the packed row that foretell the answers' tokens, and how many each answer has."""
    places: list[int] = []
    for start, example in zip(starts, examples, strict=True):
        places += range(start + example.answer_from - 1, start + len(example.ids) - 1)
    return places, [len(example.ids) - example.answer_from for example in examples]
