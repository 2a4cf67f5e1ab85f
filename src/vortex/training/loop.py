"""One training: batches through a network, an optimiser, and a state on disk that a kill at any moment leaves whole.

Deterministic for a seed on one machine: what a step sees and draws follows from the seed and the step. A loss that is
no number stops the training before it touches the weights, keeps the last good state and names the step; too little
memory names a smaller batch. Does not know files of text (token_store.py) nor what becomes of the result.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn

from vortex.errors import ConfigError, TrainingStopped
from vortex.training.batches import Batches
from vortex.training.held_out import HeldOut
from vortex.training.objective import NetworkOutput, loss_of, mtp_weights
from vortex.training.schedule import Schedule, depth_target_at, learning_rate_factor
from vortex.training.state import Progress, newest_state, read_head, restore, save_state
from vortex.vblocks.network.network import CoreNetwork

CURVE_POINTS = 400


class TrainableNetwork(Protocol):
    """CoreNetwork and BaselineTransformer; both are nn.Module."""

    @property
    def draft_heads(self) -> int:
        """Further heads, which learn the tokens behind the next."""
        ...

    def __call__(self, token_ids_BT: torch.Tensor, *, with_mtp: bool = True) -> NetworkOutput: ...

    def parameter_groups(self, learning_rate: float, weight_decay: float) -> list[dict[str, Any]]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingOptions:
    """steps or minutes: where it ends; the other is 0. window: tokens per row; batch: rows per step.

    precision: float32, or bf16 (autocast). mtp_weight: full weight of the first further head.
    """

    steps: int = 0
    minutes: float = 0.0
    window: int = 256
    batch: int = 16
    learning_rate: float = 3e-3
    weight_decay: float = 0.1
    clip: float = 1.0
    schedule: Schedule = Schedule.COSINE
    mtp_weight: float = 0.3
    precision: str = "float32"
    seed: int = 0
    save_every: int = 200
    save_every_s: float = 120.0
    evaluate_every: int = 200

    def __post_init__(self) -> None:
        if (self.steps > 0) == (self.minutes > 0):
            raise ConfigError("a training ends after --steps or after --minutes: give one of them")
        if self.window < 4 or self.batch < 1:
            raise ConfigError("a training needs windows of at least 4 tokens and a batch of at least 1")


@dataclass(frozen=True, slots=True)
class Tick:
    """Told after every step. share: of the whole training, 0 to 1."""

    progress: Progress
    share: float
    loss: float
    tokens_per_second: float


@dataclass(frozen=True, slots=True)
class KeptStates:
    """Where states lie, and the recipe kept in each; a folder with another recipe is refused."""

    folder: Path
    recipe: Mapping[str, Any] = field(default_factory=dict)


class Training:
    """`run()` goes on where the newest of the kept states ends; with None, none is kept."""

    def __init__(
        self,
        network: nn.Module,
        batches: Batches,
        held_out: HeldOut | None,
        options: TrainingOptions,
        kept: KeptStates | None,
        *,
        device: torch.device,
        on_tick: Callable[[Tick], None] | None = None,
    ) -> None:
        self._network = network.to(device)
        self._trainable: TrainableNetwork = self._network
        self._batches, self._held_out, self._options = batches, held_out, options
        self._folder = kept.folder if kept else None
        self._recipe = dict(kept.recipe) if kept else {}
        self._device, self._on_tick = device, on_tick
        groups = self._trainable.parameter_groups(options.learning_rate, options.weight_decay)
        self._optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.95), eps=1e-8, fused=device.type == "cuda")
        self._peaks = [group["lr"] for group in self._optimizer.param_groups]
        self.progress = Progress()

    def run(self) -> Progress:
        """Train to the end. Raises TrainingStopped, StorageError, ModelFileError, ConfigError (another recipe)."""
        self._resume()
        self._network.train()
        began, last_save = time.monotonic() - self.progress.spent_s, time.monotonic()
        last_save_step = self.progress.step
        recent: list[tuple[float, torch.Tensor]] = []
        while not self._is_over():
            loss = self._step()
            progress = self.progress
            progress.step += 1
            progress.tokens += self._options.batch * self._options.window
            progress.spent_s = time.monotonic() - began
            recent.append((progress.spent_s, loss))
            if self._looks_at(progress.step) or self._is_over():
                self._look(recent)
                recent = recent[-1:]
            due = progress.step - last_save_step >= self._options.save_every
            if due or time.monotonic() - last_save > self._options.save_every_s:
                self._save()
                last_save, last_save_step = time.monotonic(), progress.step
        if last_save_step != self.progress.step:
            self._save()
        return self.progress

    def share_done(self) -> float:
        if self._options.steps:
            return min(1.0, self.progress.step / self._options.steps)
        return min(1.0, self.progress.spent_s / (60 * self._options.minutes))

    def _is_over(self) -> bool:
        return self.share_done() >= 1.0

    def _step(self) -> torch.Tensor:
        """One update; the loss stays on the device, unread."""
        options, step = self._options, self.progress.step
        share = self.share_done()
        torch.manual_seed(options.seed * 1_000_003 + step)  # whatever the network drops, it drops again
        factor = learning_rate_factor(options.schedule, share)
        for group, peak in zip(self._optimizer.param_groups, self._peaks, strict=True):
            group["lr"] = peak * factor
        if isinstance(self._network, CoreNetwork):
            self._network.depth_target = depth_target_at(share, self._network.config.depth_target)
        weights = mtp_weights(share, self._trainable.draft_heads, options.mtp_weight)
        with explained_memory(step, options.batch, options.window):
            ids = torch.from_numpy(self._batches.batch(step)).to(self._device, non_blocking=True)
            with self._autocast():
                output = self._trainable(ids[:, :-1], with_mtp=any(weights))
                loss = loss_of(output, ids, weights)
            self._optimizer.zero_grad(set_to_none=True)
            torch.autograd.backward(loss.total)
            norm = nn.utils.clip_grad_norm_(self._network.parameters(), options.clip)
            self._guard(loss.total, norm)
            self._optimizer.step()
        return loss.next_token

    def _guard(self, loss: torch.Tensor, norm: torch.Tensor) -> None:
        """On a CPU every step is looked at. A GPU would wait for that: there a bad gradient becomes none, and the
        loss is looked at with the curve, before anything is saved."""
        if self._device.type == "cpu":
            self._stop_unless_finite(float(loss.detach()) + float(norm), self.progress.step)
            return
        bad = ~torch.isfinite(norm)
        for parameter in self._network.parameters():
            if parameter.grad is not None:
                parameter.grad.masked_fill_(bad, 0.0)

    def _stop_unless_finite(self, value: float, step: int) -> None:
        if math.isfinite(value):
            return
        kept = newest_state(self._folder) if self._folder else None
        state = f"the state of {kept.name} is kept" if kept else "nothing was saved yet"
        raise TrainingStopped(f"the loss at step {step} is no number; {state}; go on with a lower --learning-rate")

    def _looks_at(self, step: int) -> bool:
        every = max(1, self._options.steps // CURVE_POINTS) if self._options.steps else 10
        return step % every == 0 or step <= 10

    def _look(self, recent: list[tuple[float, torch.Tensor]]) -> None:
        """Reads the loss, which waits for a GPU; every few steps only."""
        progress, options = self.progress, self._options
        value = float(recent[-1][1])
        self._stop_unless_finite(value, progress.step - 1)
        progress.curve.append((progress.step, round(value, 6)))
        if self._held_out and (progress.step % options.evaluate_every == 0 or self._is_over()):
            with self._autocast():
                progress.held_out.append((progress.step, round(self._held_out.bits_per_byte(self._network), 6)))
            self._network.train()
        if self._on_tick:
            seconds = recent[-1][0] - recent[0][0]
            speed = (len(recent) - 1) * options.batch * options.window / seconds if seconds > 0 else 0.0
            self._on_tick(Tick(progress, self.share_done(), value, speed))

    def _autocast(self) -> contextlib.AbstractContextManager[Any]:
        if self._options.precision != "bf16":
            return contextlib.nullcontext()
        return torch.autocast(self._device.type, torch.bfloat16)

    def _resume(self) -> None:
        state = newest_state(self._folder) if self._folder else None
        if state is None:
            return
        progress, recipe = read_head(state)
        different = sorted(key for key in {*recipe, *self._recipe} if recipe.get(key) != self._recipe.get(key))
        if different:
            raise ConfigError(
                f"{self._folder} holds a training with another {', '.join(different)}; "
                "give the same options to go on, or another --out"
            )
        restore(state, self._network, self._optimizer, self._device)
        self.progress = progress

    def _save(self) -> None:
        if self._folder is None:
            return
        if not all(bool(torch.isfinite(p).all()) for p in self._network.parameters()):
            self._stop_unless_finite(math.nan, self.progress.step - 1)
        save_state(self._folder, self.progress, self._network, self._optimizer, self._recipe)


@contextlib.contextmanager
def explained_memory(step: int, batch: int, window: int) -> Iterator[None]:
    """Out of memory becomes TrainingStopped, with a smaller size that may fit."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        text = str(error).lower()
        if not isinstance(error, MemoryError) and "out of memory" not in text and "can't allocate" not in text:
            raise
        tokens = max(window, batch * window // 2)
        hint = f"--batch-tokens {tokens}" if batch > 1 else f"--window {window // 2}"
        raise TrainingStopped(f"step {step} does not fit into memory; try {hint}") from error
