"""The state of a training on disk, whole at every moment: weights, optimiser, step, and the curve so far.

    RUN/state/step-00000400/   model.safetensors  optimizer.safetensors  state.json (checksums of both; written last)

A folder gets its name when all of it is there, so a kill leaves the states before it. The newest one that is whole is
taken; the last two are kept. What each step sees follows from the seed and the step, so no generator is stored.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import xxhash
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import nn

from vortex.errors import ModelFileError, StorageError
from vortex.records.atomic import commit_rename, sync_folder

STATE_FOLDER, HEAD_FILE = "state", "state.json"
MODEL_FILE, OPTIMIZER_FILE = "model.safetensors", "optimizer.safetensors"
KEPT = 2


@dataclass(slots=True)
class Progress:
    """step: done so far. spent_s: seconds of training in all runs together. curve, held_out: (step, value) points."""

    step: int = 0
    spent_s: float = 0.0
    tokens: int = 0
    curve: list[tuple[int, float]] = field(default_factory=list)
    held_out: list[tuple[int, float]] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        return {
            "step": self.step,
            "spent_s": self.spent_s,
            "tokens": self.tokens,
            "curve": self.curve,
            "held_out": self.held_out,
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Progress:
        curves = {name: [(int(step), float(value)) for step, value in values[name]] for name in ("curve", "held_out")}
        return cls(int(values["step"]), float(values["spent_s"]), int(values["tokens"]), **curves)


def save_state(
    run: Path, progress: Progress, network: nn.Module, optimizer: torch.optim.Optimizer, recipe: Mapping[str, Any]
) -> None:
    """Raises StorageError where the disk is full; the states before stay."""
    parent = run / STATE_FOLDER
    try:
        parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=".new-", dir=parent))
        model = save({name: value.detach().contiguous().cpu() for name, value in network.state_dict().items()})
        moments = save(_moments(network, optimizer))
        head = {
            "progress": progress.to_json(),
            "recipe": dict(recipe),
            "xxh3": {MODEL_FILE: _checksum(model), OPTIMIZER_FILE: _checksum(moments)},
        }
        for name, data in ((MODEL_FILE, model), (OPTIMIZER_FILE, moments), (HEAD_FILE, json.dumps(head).encode())):
            _write_through(temporary / name, data)
        sync_folder(temporary)
        target = parent / f"step-{progress.step:08d}"
        if target.exists():
            shutil.rmtree(target)
        commit_rename(temporary, target)
    except OSError as error:
        reason = error.strerror or error
        raise StorageError(f"cannot save the training to {parent}: {reason}; free some space") from error
    _forget_old(parent)


def newest_state(run: Path) -> Path | None:
    """The newest state that is whole, or None where there is none at all.

    Raises ModelFileError where states are there and every one is damaged.
    """
    states = sorted((run / STATE_FOLDER).glob("step-*"), reverse=True)
    for state in states:
        if _is_whole(state):
            return state
    if states:
        raise ModelFileError(f"all states in {run / STATE_FOLDER} are damaged; remove {run} and begin again")
    return None


def read_head(state: Path) -> tuple[Progress, dict[str, Any]]:
    """The progress of a state, and the recipe it was made by."""
    head = json.loads((state / HEAD_FILE).read_bytes())
    return Progress.from_json(head["progress"]), head["recipe"]


def restore(state: Path, network: nn.Module, optimizer: torch.optim.Optimizer, device: torch.device) -> None:
    """Weights and moments as they were."""
    network.load_state_dict(load((state / MODEL_FILE).read_bytes()))
    moments = load((state / OPTIMIZER_FILE).read_bytes())
    step_device = device if optimizer.defaults.get("fused") else torch.device("cpu")
    places = {"step": step_device, "exp_avg": device, "exp_avg_sq": device}
    for name, parameter in network.named_parameters():
        for key, place in places.items():
            if f"{name}:{key}" in moments:
                optimizer.state[parameter][key] = moments[f"{name}:{key}"].to(place)


def _moments(network: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    return {
        f"{name}:{key}": value.detach().contiguous().cpu()
        for name, parameter in network.named_parameters()
        for key, value in optimizer.state.get(parameter, {}).items()
    }


def _is_whole(state: Path) -> bool:
    try:
        head = json.loads((state / HEAD_FILE).read_bytes())
        Progress.from_json(head["progress"])
        sums: Mapping[str, str] = head["xxh3"]
        return all(_checksum((state / name).read_bytes()) == sums[name] for name in (MODEL_FILE, OPTIMIZER_FILE))
    except (OSError, ValueError, KeyError, TypeError, SafetensorError):
        return False


def _forget_old(parent: Path) -> None:
    for old in sorted(parent.glob("step-*"))[:-KEPT]:
        shutil.rmtree(old, ignore_errors=True)
    for left in parent.glob(".new-*"):  # what a kill left half written
        shutil.rmtree(left, ignore_errors=True)


def _write_through(path: Path, data: bytes) -> None:
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _checksum(data: bytes) -> str:
    value: str = xxhash.xxh3_64_hexdigest(data)
    return value
