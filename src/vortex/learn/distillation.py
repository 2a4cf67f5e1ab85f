"""The three stages that turn a Transformer into a core, in the order of RADLADS (arXiv 2505.03005).

1. align: each layer alone gets the teacher's hidden state and learns to give the teacher's next one; mixers only. Left
   out where a window of the teacher's attention is kept: there the divergence rose while hidden states came closer.
2. logits: the whole core learns the teacher's distribution (KL divergence, teacher to student), all weights.
3. length: the same on rows four times as long, at the end of the same wave of the learning rate.
Shapes: B rows, T tokens, D width, V vocabulary.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from vortex.errors import TrainingStopped
from vortex.learn.network_evaluation import NetworkEvaluation
from vortex.learn.student import copied_parameters, mixer_parameters
from vortex.learn.teacher import Teacher
from vortex.training.batches import Batches
from vortex.training.loop import explained_memory
from vortex.training.schedule import Schedule, learning_rate_factor
from vortex.vblocks.network.network import CoreNetwork, Notes
from vortex.vblocks.network.ragged import ALL_ROWS

LONGER = 4
LOGITS_TOGETHER = 1 << 27  # numbers of one [rows, T, V] that are in memory at once
ALL_STAGES = (("align", 0.3), ("logits", 0.6), ("length", 0.1))  # with their shares of all steps
MATCHING_STAGES = (("logits", 0.9), ("length", 0.1))

OnStep = Callable[[str, int, int, float | None], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class DistillationOptions:
    """steps: of all stages; minutes: instead, where it is not 0; neither: the copy as it is. window, batch: before the
    last stage. Rates are peaks; what was copied of the teacher learns `copied_factor` times as fast as what is new.
    """

    steps: int
    minutes: float = 0.0
    window: int
    batch: int
    align_rate: float = 2e-3
    logits_rate: float = 5e-4
    copied_factor: float = 1.0
    stages: tuple[tuple[str, float], ...] = ALL_STAGES
    evaluate_every: int = 20
    seed: int = 0

    def stage_steps(self, share: float) -> int:
        return max(1, round(self.steps * share))


@dataclass(slots=True)
class DistillationCurve:
    """Points by stage: (tokens so far, loss). held_out: (tokens so far, KL in nats per token on text nobody learns)."""

    losses: dict[str, list[tuple[int, float]]] = field(default_factory=dict)
    held_out: list[tuple[int, float]] = field(default_factory=list)
    tokens: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Listeners:
    """Told as it goes: on_step(stage, step, steps, loss), the loss None where nothing is learned (the comparison at the
    end); the curve after each point, and after each stage."""

    on_step: OnStep | None = None
    on_curve: Callable[[DistillationCurve], None] | None = None
    on_stage: Callable[[DistillationCurve], None] | None = None


class Distillation:
    """`make_batches(window, batch)` gives the data; `held_out`: id windows for the curve, [1 + T] each."""

    def __init__(
        self,
        teacher: Teacher,
        student: CoreNetwork,
        make_batches: Callable[[int, int], Batches],
        held_out: list[np.ndarray],
        options: DistillationOptions,
        *,
        listeners: Listeners | None = None,
    ) -> None:
        self._teacher, self._student = teacher, student.to(teacher.device)
        self._make_batches, self._held_out, self._options = make_batches, held_out, options
        self._told = listeners or Listeners()
        self.curve = DistillationCurve()
        self._optimizer: tuple[torch.optim.Optimizer, list[float]]

    def run(self) -> DistillationCurve:
        """All stages. Raises TrainingStopped where a loss is no number."""
        options = self._options
        if not options.steps and not options.minutes:
            self._evaluate()
            return self.curve
        self._make_batches(options.window * LONGER, 1)  # too little text for the last stage is said before the first
        self._evaluate()
        for name, share in options.stages:
            longer = LONGER if name == "length" else 1
            window, batch = options.window * longer, max(1, options.batch // longer)
            self._stage(name, share, self._make_batches(window, batch))
            if self._told.on_stage:
                self._told.on_stage(self.curve)
        return self.curve

    def _stage(self, name: str, share: float, batches: Batches) -> None:
        options, device = self._options, self._teacher.device
        steps, begun = options.stage_steps(share), time.monotonic()
        seconds = 60 * options.minutes * share
        aligns = name == "align"
        if name != "length":
            self._optimizer = self._new_optimizer(aligns=aligns)
        optimizer, peaks = self._optimizer
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        points = self.curve.losses.setdefault(name, [])
        self._student.train()
        done, step = 0.0, 0
        while done < 1:
            factor = learning_rate_factor(Schedule.COSINE, self._place_in_wave(name, done), warmup=0.1)
            for group, peak in zip(optimizer.param_groups, peaks, strict=True):
                group["lr"] = peak * factor
            ids = torch.from_numpy(batches.batch(step)[:, :-1]).to(device)
            optimizer.zero_grad(set_to_none=True)
            with explained_memory(step, *ids.shape):
                loss = self._aligned(ids) if aligns else self._matched(ids)
            norm = float(torch.nn.utils.clip_grad_norm_(parameters, 1.0))
            if not math.isfinite(loss + norm):
                raise TrainingStopped(
                    f"the loss at step {step} of stage {name} is no number; lower the rate and try again"
                )
            optimizer.step()
            self.curve.tokens += ids.numel()
            points.append((self.curve.tokens, loss))
            step += 1
            done = (time.monotonic() - begun) / seconds if seconds else step / steps
            if self._told.on_step:
                self._told.on_step(name, step, max(step, round(step / done)), loss)  # by the clock: as many as will be
            if step % options.evaluate_every == 0 or done >= 1:
                self._evaluate()

    def _new_optimizer(self, *, aligns: bool) -> tuple[torch.optim.Optimizer, list[float]]:
        """With the peak of each of its groups."""
        options = self._options
        groups = [(mixer_parameters(self._student), options.align_rate if aligns else options.logits_rate)]
        if not aligns:
            groups.append((copied_parameters(self._student), options.logits_rate * options.copied_factor))
        members = [{"params": parameters} for parameters, _ in groups]
        return torch.optim.AdamW(members, betas=(0.9, 0.95), weight_decay=0.0), [peak for _, peak in groups]

    def _place_in_wave(self, name: str, done: float) -> float:
        """Aligning has a wave of its own; matching has one, whose end the longer rows share."""
        if name == "align":
            return done
        logits, length = (dict(self._options.stages)[stage] for stage in ("logits", "length"))
        return (done * logits if name == "logits" else logits + done * length) / (logits + length)

    def _aligned(self, ids_BT: torch.Tensor) -> float:
        """Backward layer by layer, so that only one layer's activations are in memory; the mean over layers."""
        target = self._teacher.forward(ids_BT).hidden
        total, notes = torch.zeros((), device=ids_BT.device), Notes()
        for at, layer in enumerate(self._student.layers):
            before, after = target[at].float(), target[at + 1].float()
            with _autocast(ids_BT.device):
                found, _ = layer(before, layer.new_state(len(ids_BT)), ALL_ROWS, notes, exact=True)
            loss = (found.float() - after).square().mean() / (after - before).square().mean()
            torch.autograd.backward(loss)
            total += loss.detach()  # read once, after the last layer: reading waits for a GPU
        return float(total) / len(self._student.layers)

    def _matched(self, ids_BT: torch.Tensor) -> float:
        """One pass through the layers; logits of a few rows at a time, which hand their gradient to the hidden rows, so
        that the logits of all do not have to fit into memory together."""
        wanted_BTD = self._teacher.hidden(ids_BT)
        with _autocast(ids_BT.device):
            hidden_BTD = self._student(ids_BT, with_mtp=False, with_logits=False).hidden
        leaf_BTD = hidden_BTD.detach().requires_grad_()
        rows = max(1, LOGITS_TOGETHER // (ids_BT.shape[1] * self._student.config.vocab_size))
        total = torch.zeros((), device=ids_BT.device)
        for ours, theirs in zip(leaf_BTD.split(rows), wanted_BTD.split(rows), strict=True):
            with _autocast(ids_BT.device):
                found = self._student.logits_of(ours)
            loss = divergence(self._teacher.logits_of(theirs), found) * (len(ours) / len(ids_BT))
            torch.autograd.backward(loss)
            total += loss.detach()
        torch.autograd.backward(hidden_BTD, leaf_BTD.grad)
        return float(total)

    @torch.no_grad()
    def _evaluate(self) -> None:
        if not self._held_out:
            return
        self._student.eval()
        nats, count = 0.0, 0
        for window in self._held_out:
            ids = torch.from_numpy(window[None, :-1]).to(self._teacher.device)
            with _autocast(ids.device):
                found = self._student(ids, with_mtp=False).logits
            nats += float(divergence(self._teacher.forward(ids).logits_BTV, found)) * ids.numel()
            count += ids.numel()
        self.curve.held_out.append((self.curve.tokens, nats / max(1, count)))
        self._student.train()
        if self._told.on_curve:
            self._told.on_curve(self.curve)

    @torch.no_grad()
    def compare(self) -> dict[str, float]:
        """Perplexity of teacher and student on the held-out windows, and how often their likeliest tokens agree."""
        self._student.eval()
        nats, agreed, count = [0.0, 0.0], 0, 0
        for window in self._held_out:
            ids = torch.from_numpy(window[None]).to(self._teacher.device)
            with _autocast(ids.device):
                found = self._student(ids[:, :-1], with_mtp=False).logits[0].float()
            wanted = self._teacher.forward(ids[:, :-1]).logits_BTV[0].float()
            for at, logits in enumerate((found, wanted)):
                nats[at] += float(F.cross_entropy(logits, ids[0, 1:], reduction="sum"))
            agreed += int((found.argmax(-1) == wanted.argmax(-1)).sum())
            count += ids.shape[1] - 1
        tests = self._tests()
        found_text = {}
        if count:
            ours, theirs = (math.exp(total / count) for total in nats)
            found_text = {"perplexity": round(ours, 3), "teacher_perplexity": round(theirs, 3)}
            found_text["top1_agreement"] = round(agreed / count, 4)
        return {
            **found_text,
            **{f"student_{name}": value for name, value in tests[0].items()},
            **{f"teacher_{name}": value for name, value in tests[1].items()},
        }

    def _tests(self) -> tuple[dict[str, float], dict[str, float]]:
        """Cloze and last words of student and teacher."""

        def student(ids: torch.Tensor) -> torch.Tensor:
            with _autocast(ids.device):
                return self._student(ids, with_mtp=False).logits

        tokenizer, device = self._teacher.tokenizer, self._teacher.device
        tests = [
            NetworkEvaluation(student, tokenizer, device),
            NetworkEvaluation(lambda ids: self._teacher.forward(ids).logits_BTV, tokenizer, device),
        ]
        done, total = 0, sum(test.num_questions for test in tests)

        def count() -> None:
            nonlocal done
            done += 1
            if self._told.on_step:
                self._told.on_step("comparing student and teacher", done, total, None)

        for test in tests:
            test.on_question = count
        ours, theirs = (test.figures() for test in tests)
        return ours, theirs


def divergence(wanted_BTV: torch.Tensor, found_BTV: torch.Tensor) -> torch.Tensor:
    """KL(teacher || student), the mean over positions, in nats."""
    wanted = wanted_BTV.float().log_softmax(-1).flatten(0, 1)
    found = found_BTV.float().log_softmax(-1).flatten(0, 1)
    return F.kl_div(found, wanted, reduction="batchmean", log_target=True)


def _autocast(device: torch.device) -> Any:
    return torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda")
