"""What one sequence remembers of a whole blueprint: a decoder's cache made of slots."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence

import numpy as np

from vortex.models.blueprint.blueprint import Blueprint
from vortex.models.blueprint.slots import Slot


class BlueprintCache:
    def __init__(self, blueprint: Blueprint, slots: list[dict[str, Slot]] | None = None) -> None:
        self._blueprint = blueprint
        self._slots = (
            slots
            if slots is not None
            else [
                {name: slot for block in blueprint.blocks(layer) for name, slot in block.slots().items()}
                for layer in range(blueprint.num_layers)
            ]
        )

    def slot(self, layer: int, name: str) -> Slot:
        return self._slots[layer][name]

    def _each(self) -> Iterator[Slot]:
        for layer in self._slots:
            yield from layer.values()

    @property
    def resident_bytes(self) -> int:
        return sum(slot.num_bytes for slot in self._each())

    def reserve(self, num_tokens: int) -> None:
        for slot in self._each():
            slot.reserve(num_tokens)

    def commit(self, num_tokens: int, swept_tokens: int) -> None:
        for slot in self._each():
            slot.commit(num_tokens, swept_tokens)

    def copy(self, num_tokens: int) -> BlueprintCache:
        slots = [{name: slot.copy(num_tokens) for name, slot in layer.items()} for layer in self._slots]
        return BlueprintCache(self._blueprint, slots)

    def close(self) -> None:
        self._slots = []

    @property
    def form(self) -> str:
        drawn = json.dumps(self._blueprint.to_json(), sort_keys=True).encode()
        return f"blueprint-{hashlib.blake2b(drawn, digest_size=8).hexdigest()}"

    def arrays(self, num_tokens: int) -> list[np.ndarray]:
        return [array for slot in self._each() for array in slot.arrays(num_tokens)]

    def fill(self, num_tokens: int, arrays: Sequence[np.ndarray]) -> None:
        at = 0
        for slot in self._each():
            count = len(slot.arrays(0))
            slot.fill(num_tokens, arrays[at : at + count])
            at += count
        if at != len(arrays):
            raise ValueError(f"it holds {len(arrays)} arrays")
