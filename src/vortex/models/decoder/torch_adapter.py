"""Adapters on the torch compute: float32 beside the packed products, a span at a time.

A span's shape is its own affair, as everywhere in torch_compute.py, so a request's bits are its own.
"""

from __future__ import annotations

import weakref
from dataclasses import dataclass

import torch

from vortex.models.decoder.adapter_parts import layer_parts
from vortex.models.decoder.compute import Batch
from vortex.models.files.checkpoint import expected_shape
from vortex.models.files.decoder_config import DecoderConfig
from vortex.types import Adapter

FUSED = {"qkv": ("q", "k", "v"), "attention_out": ("attention_out",), "gate_up": ("gate", "up"), "down": ("down",)}


@dataclass(frozen=True, slots=True)
class _Part:
    """Adds scale * b (a x) to the columns of a fused product that belong to one matrix. The scale is in b."""

    columns: slice
    a: torch.Tensor
    b: torch.Tensor


class TorchAdapters:
    """Belongs to one compute; an adapter's tensors are made when it is first swept and kept as long as it is."""

    def __init__(self, config: DecoderConfig, device: torch.device) -> None:
        self._config, self._device = config, device
        self._made: weakref.WeakKeyDictionary[Adapter, list[dict[str, list[_Part]]]] = weakref.WeakKeyDictionary()

    def add(self, layer: int, fused: str, x_BD: torch.Tensor, y_BN: torch.Tensor, batch: Batch) -> torch.Tensor:
        """y, with what the adapters add to the product of x in place. y: float32."""
        for segment in batch.segments:
            if segment.adapter is None:
                continue
            for part in self._of(segment.adapter)[layer].get(fused, ()):
                x = x_BD[segment.rows].float()
                y_BN[segment.rows, part.columns] += (x @ part.a.T) @ part.b.T
        return y_BN

    def _of(self, adapter: Adapter) -> list[dict[str, list[_Part]]]:
        if adapter not in self._made:
            self._made[adapter] = [self._layer(adapter, layer) for layer in range(self._config.num_layers)]
        return self._made[adapter]

    def _layer(self, adapter: Adapter, layer: int) -> dict[str, list[_Part]]:
        parts, made = layer_parts(self._config, adapter, layer), dict[str, list[_Part]]()
        for fused, members in FUSED.items():
            start = 0
            for name in members:
                stop = start + expected_shape(self._config, name)[0]
                if name in parts:
                    a, b = (torch.from_numpy(side.copy()).to(self._device) for side in parts[name].dense())
                    made.setdefault(fused, []).append(_Part(slice(start, stop), a, b * parts[name].scale))
                start = stop
        return made
