"""Adapters in the native core's tiles: made when an adapter is first swept, kept as long as the adapter is."""

from __future__ import annotations

import weakref
from typing import Any

import numpy as np

from vortex.kernels.formats import Format
from vortex.kernels.packed import PackedMatrix, pack
from vortex.models.decoder.adapter_parts import layer_parts
from vortex.models.files.decoder_config import DecoderConfig
from vortex.types import Adapter

FORMATS = {np.dtype(np.float32): Format.F32, np.dtype(np.float16): Format.F16, np.dtype(np.uint16): Format.BF16}


class NativeAdapters:
    """Belongs to one compute."""

    def __init__(self, config: DecoderConfig, native: Any) -> None:
        self._config, self._native = config, native
        self._made: weakref.WeakKeyDictionary[Adapter, Any] = weakref.WeakKeyDictionary()

    def of(self, adapter: Adapter | None) -> Any:
        """What a native sweep takes for it; None for none."""
        if adapter is None:
            return None
        if adapter not in self._made:
            self._made[adapter] = self._native.Adapter(
                [
                    {
                        name: (_tiles(part.a), _tiles(part.b), part.scale)
                        for name, part in layer_parts(self._config, adapter, layer).items()
                    }
                    for layer in range(self._config.num_layers)
                ]
            )
        return self._made[adapter]


def _tiles(matrix: np.ndarray) -> Any:
    kind, (rows, columns) = FORMATS[matrix.dtype], matrix.shape
    return PackedMatrix(kind, pack(kind, matrix, rows, columns), (rows, columns)).native
