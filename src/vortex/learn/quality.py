"""Trainings to compare, all on the same tokens in the same order: a core, a Transformer of equal weights, one whose
window holds as many bytes as the core's state, and one that begins as the core does. `bench/vblocks/quality.py` decides
which, and judges.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from vortex.learn.core_run import CoreRun, build_network, recipe_of, run_network
from vortex.learn.core_sizes import num_weights, transformer_like
from vortex.training.loop import TrainingOptions
from vortex.vblocks.config import CoreConfig
from vortex.vblocks.network.network import CoreNetwork

ARCHS = ("core", "transformer", "window", "recall")


def state_bytes(config: CoreConfig) -> int:
    """What a core keeps of one sequence, in bytes: every tensor of its state."""
    return _bytes_of(CoreNetwork(config).new_state(1))


def _bytes_of(value: object) -> int:
    if isinstance(value, torch.Tensor):
        return int(value.numel() * value.element_size())
    if dataclasses.is_dataclass(value):
        return sum(_bytes_of(getattr(value, field.name)) for field in dataclasses.fields(value))
    if isinstance(value, list | tuple):
        return sum(map(_bytes_of, value))
    return 0


@dataclass(frozen=True, slots=True)
class QualityTrainer:
    """Called with (arch, learning rate, seed); keeps each result in `folder`, so that an interrupted sweep goes on."""

    run: CoreRun
    folder: Path

    def __call__(self, arch: str, learning_rate: float, seed: int) -> dict[str, Any]:
        """Figures of one training: bits_per_byte, seconds, tokens, weights."""
        file = self.folder / f"{arch}-{learning_rate:g}-{seed}.json"
        run = self._changed(arch, learning_rate, seed)
        recipe = {name: value for name, value in recipe_of(run, "").items() if name != "data"}
        if file.exists():
            kept: dict[str, Any] = json.loads(file.read_text())
            if kept["recipe"] == recipe:
                return kept
        network = build_network(run)
        progress = run_network(run, network)
        found = {
            "arch": arch,
            "learning_rate": learning_rate,
            "seed": seed,
            "bits_per_byte": progress.held_out[-1][1],
            "seconds": round(progress.spent_s, 1),
            "tokens": progress.tokens,
            "weights": sum(p.numel() for n, p in network.named_parameters() if not n.startswith("embedding.")),
            "held_out": progress.held_out,
            "recipe": recipe,
        }
        self.folder.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(found))
        return found

    def describe(self) -> dict[str, Any]:
        """Weights without embeddings and state bytes of what is compared."""
        config = self.run.config
        windowed = transformer_like(config, window=self.window_tokens())
        return {
            "weights": num_weights(config),
            "state_bytes": state_bytes(config),
            "window_tokens": windowed.window,
            "window_state_bytes": windowed.state_bytes(1 << 30),
            "steps": self.run.options.steps,
            "tokens": self.run.options.steps * self.run.options.batch * self.run.options.window,
        }

    def window_tokens(self) -> int:
        """Tokens whose keys and values fill the core's state bytes."""
        one = transformer_like(self.run.config, window=1).state_bytes(1)
        return max(1, round(state_bytes(self.run.config) / one))

    def _changed(self, arch: str, learning_rate: float, seed: int) -> CoreRun:
        options: TrainingOptions = dataclasses.replace(self.run.options, learning_rate=learning_rate, seed=seed)
        if arch == "core":
            return dataclasses.replace(self.run, options=options)
        window = self.window_tokens() if arch == "window" else 0
        recall = arch == "recall"
        return dataclasses.replace(self.run, options=options, arch="transformer", window=window, as_recall=recall)
