"""All layers of a core in one call of the native core, which keeps their states; for weights that stay in memory.

vblocks/layers.py is the same layer by layer, vblocks/step/blocks.py its readable form.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vortex.kernels import dispatch
from vortex.kernels.packed import PackedMatrix
from vortex.vblocks.config import CoreConfig
from vortex.vblocks.native.layer import can_run, native_layer
from vortex.vblocks.step.blocks import block_vectors
from vortex.vblocks.step.delta import DeltaSequence
from vortex.vblocks.step.lava import LavaSequence
from vortex.vblocks.step.lava_slots import LavaSlots
from vortex.vblocks.step.local import LocalSequence
from vortex.vblocks.step.sequence import Layers, LayerSequence
from vortex.vblocks.weights import CoreWeights


def can_stack(config: CoreConfig, weights: CoreWeights) -> bool:
    """Whether the native core may keep all of this core."""
    units = [f"layers.{index}.matrices" for index in range(config.num_layers)]
    if weights.source.bytes_to_fetch or not all(weights.is_packed(unit) for unit in units):
        return False
    return all(can_run(config, index) and weights.stays(unit) for index, unit in enumerate(units))


@dataclass(frozen=True, slots=True)
class SweptStack:
    """A span after a sweep, `sweep` native."""

    stack: NativeStack
    sweep: Any
    index: int

    @property
    def state(self) -> Any:
        """As if all of it were committed."""
        return self.sweep.after(self.index)

    @property
    def layers_taken(self) -> int:
        """By all of the span's rows together."""
        return int(self.sweep.layers_taken(self.index))

    def replay(self, num_tokens: int) -> Any:
        """The state after the first `num_tokens` of the span."""
        return self.stack.native.replay(self.sweep, self.index, num_tokens)


class NativeStack:
    """States are the native core's (`CoreState`): values, too."""

    def __init__(self, config: CoreConfig, weights: CoreWeights) -> None:
        self.config = config
        self.native = dispatch.load().CoreStack(config.depth_min, config.depth_max, config.depth_hysteresis)
        for index in range(config.num_layers):
            gate = config.is_gated(index)
            weight = weights.vector(f"layers.{index}.gate.weight") if gate else None
            bias = float(weights.vector(f"layers.{index}.gate.bias")[0]) if gate else 0.0
            with weights.matrices(f"layers.{index}.matrices") as matrices:
                natives = [matrix.native for matrix in matrices if isinstance(matrix, PackedMatrix)]
            self.native.add_layer(native_layer(config, block_vectors(config, index, weights)), natives, weight, bias)

    def new_state(self, memory: Sequence[LavaSlots] = ()) -> Any:
        """`memory`: slots of the LAVA layers, or none."""
        state = self.native.empty()
        with_lava = [index for index in range(self.config.num_layers) if self.config.has_lava(index)]
        for index, slots in zip(with_lava, memory, strict=False):
            parts = (slots.keys.transpose(0, 2, 1), slots.values, slots.strength, slots.touched, slots.use)
            keys, values, strength, touched, use = (np.ascontiguousarray(part).reshape(-1) for part in parts)
            state = state.with_slots(index, keys, values, strength, touched, use, slots.occupied)
        return state

    def sweep(
        self, x_RD: np.ndarray, states: Sequence[Any], rows: Sequence[slice]
    ) -> tuple[np.ndarray, list[SweptStack]]:
        """`x_RD` is changed in place."""
        sweep = self.native.sweep(x_RD, states, [place.stop - place.start for place in rows])
        return x_RD, [SweptStack(self, sweep, index) for index in range(len(states))]

    def view(self, state: Any) -> Layers:
        """The state's arrays, not copied."""
        return tuple(self._layer_view(state.layer(index)) for index in range(self.config.num_layers))

    def num_bytes(self, state: Any) -> int:
        return int(state.num_bytes)

    def _layer_view(self, part: dict[str, Any]) -> LayerSequence:
        config = self.config
        window_kv = None
        if config.local_window:
            window_kv = part["window_kv"].reshape(config.local_window - 1, 2, -1, config.width // config.local_heads)
        matrix = part["matrix"].reshape(config.num_heads, config.key_dim, config.value_dim)
        mixed = config.num_heads * (2 * config.key_dim + config.value_dim)
        lava = _lava_view(config, part) if "keys" in part else None
        return LayerSequence(
            LocalSequence(part["local_tail"].reshape(-1, config.width), window_kv, part["seen"]),
            DeltaSequence(part["delta_tail"].reshape(-1, mixed), matrix),
            lava,
            part["gate_open"],
        )


def _lava_view(config: CoreConfig, part: dict[str, Any]) -> LavaSequence:
    options = config.lava
    heads, key_dim, value_dim = options.heads, options.key_dim, options.value_dim
    slots = LavaSlots(
        options,
        keys=part["keys"].reshape(heads, key_dim, options.slots).transpose(0, 2, 1),
        values=part["values"].reshape(heads, options.slots, value_dim),
        strength=part["strength"],
        use=part["use"],
        touched=part["touched"],
        cluster=np.zeros(options.slots, np.int64),
        sums=np.zeros((options.clusters, heads, key_dim), np.float32),
        occupied=part["occupied"],
        is_shared=True,
    )
    return LavaSequence(
        tail=part["tail"].reshape(-1, heads * (2 * key_dim + value_dim)),
        slots=slots,
        keys=part["waiting_keys"].reshape(options.write_every, heads, key_dim),
        values=part["waiting_values"].reshape(options.write_every, heads, value_dim),
        gate=part["waiting_gate"],
        surprise=part["waiting_surprise"],
        held=part["held"].reshape(heads, value_dim),
        position=part["position"],
    )
