"""A decoder's weights out of a random generator, by the house's names, for self-tests and timings."""

from __future__ import annotations

import numpy as np
from gguf.constants import GGMLQuantizationType

from vortex.models.files.checkpoint import expected_shape
from vortex.models.files.decoder_config import DecoderConfig
from vortex.models.files.raw_tensor import RawTensor

Q4_1_BLOCK_BYTES = 20
SCALE, MINIMUM = 0.01, -0.075


class RandomCheckpoint:
    """A Checkpoint. Matrices are Gaussian float32, or with `quantised` random Q4_1 blocks; norms are near one."""

    def __init__(self, config: DecoderConfig, *, quantised: bool = False, seed: int = 0) -> None:
        self.config, self.quantised = config, quantised
        self._seed = seed

    def tensor(self, name: str) -> RawTensor:
        """The same numbers every time it is asked for."""
        rows, columns = expected_shape(self.config, name)
        rng = np.random.default_rng([self._seed, *name.encode()])
        if rows > 1 and self.quantised and columns % 32 == 0:
            return _random_blocks(rng, rows, columns)
        values = rng.standard_normal((rows, columns), np.float32)
        if rows > 1:
            values /= np.sqrt(np.float32(columns))
        elif name.endswith("norm"):
            values = 1 + np.float32(0.2) * values
        return RawTensor(GGMLQuantizationType.F32, rows, columns, values.view(np.uint8).reshape(rows, -1))


def _random_blocks(rng: np.random.Generator, rows: int, columns: int) -> RawTensor:
    """Q4_1: fp16 scale, fp16 minimum, 16 bytes of codes."""
    blocks = rng.integers(0, 256, (rows, columns // 32, Q4_1_BLOCK_BYTES), np.uint8)
    header = np.asarray([SCALE, MINIMUM], np.float16).view(np.uint8)
    blocks[..., :4] = header
    return RawTensor(GGMLQuantizationType.Q4_1, rows, columns, blocks.reshape(rows, -1))
