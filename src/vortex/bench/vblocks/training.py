"""Training a small core on a recall task, and what it then recalls: the engine behind the recall parts of `bench core`.

The memory path needs its own reason to learn from the first step, so: LAVA layers hear nothing of the delta rule for a
share of the sequences, everything is written at first (plain attention over earlier chunks), and the number of written
pairs is brought down to the wanted one while it trains; lengths are mixed. What is reported comes from the bounded
form, slots and all. Ends by time or by steps; a run is a function of its seed and the number of its steps.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F

from vortex.bench.vblocks.tasks import Batch
from vortex.vblocks.config import CoreConfig
from vortex.vblocks.network.network import CoreNetwork

MakeBatch = Callable[[int, int, torch.Generator], Batch]  # difficulty, sequences, generator
LOG_EVERY_STEPS = 10
PASSING = 0.9
HARDEST_SHARE = 0.6  # of the steps; the others go back to what was learnt before


@dataclass(frozen=True, slots=True, kw_only=True)
class RecallRun:
    """make_batch gives sequences of a difficulty (pairs, or tokens). difficulties ascend; the next one joins in when
    the hardest one so far is recalled at 90%. tokens: about how many a step holds. anneal: the shares of the run
    between which writes come down from all to the configured number. ssm_path_dropout fades out over the last third.
    """

    name: str
    config: CoreConfig
    make_batch: MakeBatch
    difficulties: Sequence[int]
    tokens_per_step: int = 24_576
    max_batch: int = 64
    seconds: float = 3600.0
    max_steps: int = 100_000
    learning_rate: float = 2e-3
    weight_decay: float = 0.05
    ssm_path_dropout: float = 0.5
    local_dropout: float = 0.0
    anneal: tuple[float, float] = (0.4, 0.8)
    seed: int = 0
    device: str = "cpu"


@dataclass(slots=True)
class RecallResult:
    """accuracy by difficulty, in the bounded form; curve: (seconds, difficulty, loss, accuracy) while it trained."""

    name: str
    seed: int
    steps: int
    seconds: float
    accuracy: dict[int, float] = field(default_factory=dict)
    exact_accuracy: dict[int, float] = field(default_factory=dict)
    path_use: dict[str, float] = field(default_factory=dict)
    curve: list[tuple[float, int, float, float]] = field(default_factory=list)

    def as_json(self) -> dict[str, object]:
        return dataclasses.asdict(self)


def train_recall(run: RecallRun, say: Callable[[str], None]) -> tuple[CoreNetwork, RecallResult]:
    """A trained network in evaluation mode, and its result without accuracies yet. `say`: a line of progress."""
    torch.manual_seed(run.seed)
    network = CoreNetwork(run.config).to(run.device)
    optimiser = torch.optim.AdamW(network.parameter_groups(run.learning_rate, run.weight_decay), betas=(0.9, 0.98))
    rates = [group["lr"] for group in optimiser.param_groups]
    generator = torch.Generator().manual_seed(1000 + run.seed)
    result = RecallResult(run.name, run.seed, 0, 0.0)
    started, level = time.perf_counter(), 0
    while (progress := _progress(run, result.steps, time.perf_counter() - started)) < 1:
        _apply_schedule(network, run, optimiser, rates, (result.steps, progress))
        easier = int(torch.randint(level + 1, (), generator=generator))
        pick = level if torch.rand((), generator=generator) < HARDEST_SHARE else easier
        batch = _batch(run, run.difficulties[pick], generator)
        loss, hits = _step(network, optimiser, batch)
        result.steps += 1
        if result.steps % LOG_EVERY_STEPS == 0 and pick == level:
            accuracy = float(hits)
            seconds = time.perf_counter() - started
            result.curve.append((round(seconds, 1), run.difficulties[level], round(float(loss), 4), round(accuracy, 4)))
            if result.steps % (8 * LOG_EVERY_STEPS) == 0:
                say(f"{run.name} seed {run.seed}: step {result.steps}, {result.curve[-1]}")
            if accuracy > PASSING and level + 1 < len(run.difficulties):
                level += 1
    result.seconds = round(time.perf_counter() - started, 1)
    _set_writes(network, run.config.lava_writes)
    return network.eval(), result


def recall(
    network: CoreNetwork, batch: Batch, device: str, *, bounded: bool = True, sequences: int = 32
) -> tuple[float, dict[str, float]]:
    """(share of the asked tokens that the network names, path use of the exact form)."""
    hits = asked = 0
    path_use: Mapping[str, float] = {}
    with torch.no_grad():
        for start in range(0, len(batch.token_ids), sequences):
            ids = batch.token_ids[start : start + sequences].to(device)
            targets = batch.targets[start : start + sequences].to(device)
            state = network.new_state(len(ids)) if bounded else None
            output = network(ids, state, with_mtp=False, paths=not bounded)
            path_use = output.path_use
            right = output.logits.argmax(-1)[targets >= 0] == targets[targets >= 0]
            hits, asked = hits + int(right.sum()), asked + right.numel()
    return hits / asked, dict(path_use)


def _progress(run: RecallRun, steps: int, seconds: float) -> float:
    return max(steps / run.max_steps, seconds / run.seconds)


def _batch(run: RecallRun, difficulty: int, generator: torch.Generator) -> Batch:
    one = run.make_batch(difficulty, 1, generator)
    count = max(4, min(run.max_batch, run.tokens_per_step // one.token_ids.shape[1]))
    batch = run.make_batch(difficulty, count, generator)
    return Batch(batch.token_ids.to(run.device), batch.targets.to(run.device))


def _step(network: CoreNetwork, optimiser: torch.optim.Optimizer, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """(loss, share of right answers), without waiting for the device."""
    asked = batch.targets >= 0
    output = network(batch.token_ids, with_mtp=False, with_logits=False)
    logits = network.logits_of(output.hidden[asked])
    loss = F.cross_entropy(logits, batch.targets[asked])
    optimiser.zero_grad(set_to_none=True)
    torch.stack([loss, *output.losses.values()]).sum().backward()
    torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
    optimiser.step()
    return loss.detach(), (logits.detach().argmax(-1) == batch.targets[asked]).float().mean()


def _apply_schedule(
    network: CoreNetwork,
    run: RecallRun,
    optimiser: torch.optim.Optimizer,
    rates: Sequence[float],
    place: tuple[int, float],
) -> None:
    """Warm-up over 100 steps, constant, down to a twentieth over the last 40%; dropout and writes as described."""
    step, progress = place
    factor = min(1.0, (step + 1) / 100) * min(1.0, 0.05 + 0.95 * (1 - progress) / 0.4)
    for group, rate in zip(optimiser.param_groups, rates, strict=True):
        group["lr"] = rate * factor
    fade = min(1.0, (1 - progress) * 3)
    network.set_path_dropout(run.ssm_path_dropout * fade, run.local_dropout * fade)
    config = run.config
    begin, end = run.anneal
    left = min(1.0, max(0.0, (end - progress) / (end - begin)))
    _set_writes(network, round(config.lava_writes + (config.lava_write_every - config.lava_writes) * left))


def _set_writes(network: CoreNetwork, writes: int) -> None:
    for layer in network.layers:
        if layer.lava is not None:
            layer.lava.options = dataclasses.replace(layer.lava.options, writes=writes)
