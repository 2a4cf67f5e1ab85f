"""A blueprint swept: the same steps over dense weights (the readable twin, float32) or over packed ones.

Packed: products run in the native core, layer by layer out of a weight source, resident or paged; the rest is numpy. A
row's bits are its own affair in both, so a sweep's shape, chunks, drafts and paging never show.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from vortex.models.blueprint.blocks import Call, Weights
from vortex.models.blueprint.blueprint import Blueprint, Step
from vortex.models.blueprint.cache import BlueprintCache
from vortex.models.blueprint.rows import rms_norm, softcap
from vortex.models.decoder.compute import Batch
from vortex.types import Exactness


@dataclass(frozen=True, slots=True)
class BlueprintRows:
    """x: float32 [B, width]. angles: by rotation. extras: float32 [B, layers, input_width], None for most models."""

    x: np.ndarray
    angles: Mapping[str, np.ndarray]
    extras: np.ndarray | None = None


class ModelWeights(Protocol):
    """Where a blueprint's weights are."""

    @property
    def num_bytes(self) -> int: ...

    @property
    def bytes_to_fetch(self) -> int: ...

    def layer(self, index: int) -> Any:
        """A context manager: the layer's Weights, for one use."""
        ...

    def rows_of(self, name: str, row_ids: np.ndarray) -> np.ndarray:
        """Rows of an embedding, float32."""
        ...

    def top(self, name: str) -> np.ndarray:
        """A vector outside the layers."""
        ...

    def top_product(self, name: str, x_BD: np.ndarray) -> np.ndarray: ...

    def counters(self) -> Mapping[str, float]: ...

    def close(self) -> None: ...


class BlueprintCompute:
    """A `decoder.compute.Compute`."""

    exactness = Exactness.BITWISE
    prefill_chunk = 128
    row_share = 0.6

    def __init__(self, blueprint: Blueprint, weights: ModelWeights) -> None:
        self.blueprint, self.weights = blueprint, weights

    @property
    def weight_bytes(self) -> int:
        return self.weights.num_bytes

    @property
    def bytes_to_fetch(self) -> int:
        return self.weights.bytes_to_fetch

    def counters(self) -> Mapping[str, float]:
        return self.weights.counters()

    def new_cache(self) -> BlueprintCache:
        return BlueprintCache(self.blueprint)

    def embed(self, batch: Batch) -> BlueprintRows:
        x = self.weights.rows_of("embedding", batch.token_ids) * np.float32(self.blueprint.embedding_scale)
        if self.blueprint.embedding_norm:
            x = rms_norm(x, self.weights.top("embedding_norm"), self.blueprint.epsilon)
        return BlueprintRows(x, self.blueprint.angles(batch.positions), self._extras(x, batch))

    def _extras(self, x_BD: np.ndarray, batch: Batch) -> np.ndarray | None:
        extra = self.blueprint.per_layer
        if extra is None:
            return None
        shape = (len(x_BD), self.blueprint.num_layers, extra.input_width)
        own = self.weights.rows_of("per_layer_embedding", batch.token_ids) * np.float32(extra.embedding_scale)
        projected = self.weights.top_product("per_layer_projection", x_BD) * np.float32(extra.projection_scale)
        normed = rms_norm(projected.reshape(shape), self.weights.top("per_layer_norm"), self.blueprint.epsilon)
        return (normed + own.reshape(shape)) * np.float32(extra.sum_scale)

    def layer(self, index: int, x: BlueprintRows, batch: Batch) -> BlueprintRows:
        rows, extra = x.x, None if x.extras is None else x.extras[:, index]
        with self.weights.layer(index) as weights:
            call = Call(index, weights, batch, self.blueprint.epsilon, x.angles, extra)
            for step in self.blueprint.layers[index]:
                rows = self._stepped(step, rows, call)
        return BlueprintRows(rows, x.angles, x.extras)

    def _stepped(self, step: Step, x: np.ndarray, call: Call) -> np.ndarray:
        norm = _norms(call.weights, call.epsilon)
        normed = norm(step.norm, x)
        total: np.ndarray | None = None
        for number, block in enumerate(step.blocks):
            out = block.run(norm(step.block_norms[number], x) if step.block_norms else normed, call)
            if step.block_post_norms:
                out = norm(step.block_post_norms[number], out)
            total = out if total is None else total + out
        assert total is not None, "a step has a block"
        x = x + np.float32(step.scale) * norm(step.post_norm, total)
        return x * call.weights.vector(step.after) if step.after else x

    def logits(self, x: BlueprintRows, rows: np.ndarray) -> np.ndarray:
        head = "embedding" if self.blueprint.tied_head else "head"
        logits = self.weights.top_product(head, self.hidden(x, rows)) * np.float32(self.blueprint.logit_scale)
        return softcap(logits, self.blueprint.logit_cap) if self.blueprint.logit_cap else logits

    def hidden(self, x: BlueprintRows, rows: np.ndarray) -> np.ndarray:
        return rms_norm(x.x[rows], self.weights.top("final_norm"), self.blueprint.epsilon)

    def close(self) -> None:
        self.weights.close()


def _norms(weights: Weights, epsilon: float) -> Callable[[str, np.ndarray], np.ndarray]:
    def norm(name: str, x: np.ndarray) -> np.ndarray:
        return rms_norm(x, weights.vector(name), epsilon) if name else x

    return norm
