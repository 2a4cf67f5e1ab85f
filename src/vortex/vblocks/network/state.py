"""What a core remembers of a batch of sequences, in torch: one state per layer, each of constant size."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from vortex.vblocks.network.gated_delta import DeltaState
from vortex.vblocks.network.lava import LavaState
from vortex.vblocks.network.local_mixer import LocalState


@dataclass(frozen=True, slots=True)
class LayerState:
    """lava: None in layers without. gate_open [B] bool: the depth gate's trigger; None in layers that are not gated."""

    local: LocalState
    delta: DeltaState
    lava: LavaState | None
    gate_open: torch.Tensor | None


CoreState = tuple[LayerState, ...]


def part_of(state: CoreState, index: int) -> CoreState:
    """One sequence of a batch."""
    return _map([state], lambda tensors: tensors[0][index : index + 1])


def joined(states: Sequence[CoreState]) -> CoreState | None:
    """Sequences as one batch; None where their memories stand at different places, which only a gated core can have."""
    places = [[layer.lava.memory.position for layer in state if layer.lava] for state in states]
    if any(place != places[0] for place in places):
        return None
    return _map(states, torch.cat)


def detached(state: CoreState) -> CoreState:
    """The same numbers, from which no gradient flows back."""
    return _map([state], lambda tensors: tensors[0].detach())


def _map(parts: Sequence[Any], use: Any) -> Any:
    """`use` on the tensors at the same place of several equal structures."""
    first = parts[0]
    if isinstance(first, torch.Tensor):
        return use(list(parts))
    if isinstance(first, tuple):
        return tuple(_map(group, use) for group in zip(*parts, strict=True))
    if dataclasses.is_dataclass(first):
        names = [field.name for field in dataclasses.fields(first)]
        return dataclasses.replace(first, **{n: _map([getattr(p, n) for p in parts], use) for n in names})  # type: ignore[type-var]
    return first
