"""The weight formats that the native core knows, by GGUF's names, and which of them it takes where.

Tiles of 16 rows are drawn in docs/kernels.md and src/native/format.h.
"""

from __future__ import annotations

from enum import IntEnum

BLOCK_COLUMNS = 32


class Format(IntEnum):
    """Numbers are those of src/native/format.h. Own 4-bit weights in groups of 32 are Q4_1, 8-bit ones Q8_0."""

    Q4_0 = 0
    Q4_1 = 1
    Q5_0 = 2
    Q5_1 = 3
    Q8_0 = 4
    Q4_K = 5
    Q5_K = 6
    Q6_K = 7
    MXFP4 = 8
    F16 = 9
    BF16 = 10
    F32 = 11

    @property
    def column_multiple(self) -> int:
        """Columns come in whole blocks of this many."""
        if self >= Format.F16:
            return 1
        return 256 if self in {Format.Q4_K, Format.Q5_K, Format.Q6_K} else BLOCK_COLUMNS

    @property
    def block_bytes(self) -> int:
        """Bytes of `column_multiple` columns of a row in GGUF."""
        return _BLOCK_BYTES[self]

    @property
    def is_float(self) -> bool:
        """Float weights meet float activations; all others meet activations rounded to int8."""
        return self >= Format.F16


class Gate(IntEnum):
    """How a feed-forward opens its gate, by DecoderConfig's names. Numbers are those of src/native/kernels.h."""

    silu = 0
    gelu_tanh = 1
    clamped_swiglu = 2


_BLOCK_BYTES = {
    Format.Q4_0: 18, Format.Q4_1: 20, Format.Q5_0: 22, Format.Q5_1: 24, Format.Q8_0: 34,
    Format.Q4_K: 144, Format.Q5_K: 176, Format.Q6_K: 210, Format.MXFP4: 17,
    Format.F16: 2, Format.BF16: 2, Format.F32: 4,
}  # fmt: skip
