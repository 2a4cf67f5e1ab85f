"""Gemma's per-layer inputs: a second embedding, a slice of which flows into every layer beside the rows.

The embedding makes for each row and layer a vector out of the token's own and a projection of the row; in the layer it
is gated by the row and projected back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from vortex.models.blueprint.blocks import Call, Shapes
from vortex.models.blueprint.rows import ACTIVATIONS
from vortex.models.blueprint.slots import Slot


@dataclass(frozen=True, slots=True, kw_only=True)
class PerLayerInput:
    """Matrices: input_gate, input_out."""

    kind: ClassVar[str] = "per_layer_input"
    input_width: int
    activation: str = "gelu_tanh"

    def shapes(self, width: int) -> Shapes:
        return {"input_gate": (self.input_width, width), "input_out": (width, self.input_width)}

    def slots(self) -> Mapping[str, Slot]:
        return {}

    def run(self, x_BD: np.ndarray, call: Call) -> np.ndarray:
        assert call.extra is not None, "the embedding makes per-layer inputs"
        gate = ACTIVATIONS[self.activation](call.weights.product("input_gate", x_BD))
        return call.weights.product("input_out", gate * call.extra)


@dataclass(frozen=True, slots=True, kw_only=True)
class PerLayerEmbedding:
    """Beside the model's embedding: `per_layer_embedding` [vocab_size, layers * input_width], `per_layer_projection`
    [layers * input_width, width], `per_layer_norm` [input_width]. Both parts are added and scaled."""

    input_width: int
    vocab_size: int
    embedding_scale: float
    projection_scale: float
    sum_scale: float
