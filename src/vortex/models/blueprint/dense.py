"""Dense float32 weights of a blueprint, straight from its files: slow, readable, the oracle of the packed ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Protocol

import numpy as np

from vortex.models.blueprint.blocks import Routes
from vortex.models.blueprint.blueprint import Blueprint
from vortex.models.blueprint.rows import ACTIVATIONS
from vortex.models.files.formats import dense
from vortex.models.files.raw_tensor import RawTensor


class BlueprintCheckpoint(Protocol):
    """A model's files with the blueprint that was drawn of them."""

    @property
    def blueprint(self) -> Blueprint: ...

    def tensor(self, name: str) -> RawTensor:
        """By the blueprint's name. Raises ModelFileError where the files lack it or it has another shape."""
        ...


def products(weight_ND: np.ndarray, x_BD: np.ndarray) -> np.ndarray:
    """A product per row: a row's bits must not depend on its neighbours."""
    return np.stack([weight_ND @ row for row in x_BD])


class DenseLayer:
    def __init__(self, tensors: Mapping[str, np.ndarray]) -> None:
        self._tensors = tensors

    def vector(self, name: str) -> np.ndarray:
        return self._tensors[name].ravel()

    def product(self, name: str, x_BD: np.ndarray) -> np.ndarray:
        return products(self._tensors[name], x_BD)

    def experts(self, x_BD: np.ndarray, routes: Routes, activation: str) -> np.ndarray:
        out, activate = np.zeros_like(x_BD), ACTIVATIONS[activation]
        for row, (experts, shares) in enumerate(zip(routes.experts_BK, routes.shares_BK, strict=True)):
            for expert, share in zip(experts, shares, strict=True):
                gate, up, down = (self._tensors[f"experts.{expert}.{name}"] for name in ("gate", "up", "down"))
                out[row] += share * (down @ (activate(gate @ x_BD[row]) * (up @ x_BD[row])))
        return out


class DenseWeights:
    """A `compute.ModelWeights`."""

    bytes_to_fetch = 0

    def __init__(self, checkpoint: BlueprintCheckpoint) -> None:
        blueprint = checkpoint.blueprint
        self._top = {name: dense(checkpoint.tensor(name)) for name in blueprint.top_shapes()}
        self._layers = [
            DenseLayer({name: dense(checkpoint.tensor(f"layers.{index}.{name}")) for name in blueprint.shapes(index)})
            for index in range(blueprint.num_layers)
        ]

    @property
    def num_bytes(self) -> int:
        layers = [one for layer in self._layers for one in layer._tensors.values()]
        return sum(one.nbytes for one in [*self._top.values(), *layers])

    @contextmanager
    def layer(self, index: int) -> Iterator[DenseLayer]:
        yield self._layers[index]

    def rows_of(self, name: str, row_ids: np.ndarray) -> np.ndarray:
        return self._top[name][row_ids]

    def top(self, name: str) -> np.ndarray:
        return self._top[name].ravel()

    def top_product(self, name: str, x_BD: np.ndarray) -> np.ndarray:
        return products(self._top[name], x_BD)

    def counters(self) -> Mapping[str, float]:
        return {}

    def close(self) -> None:
        self._layers.clear()
