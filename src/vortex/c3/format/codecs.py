"""How a tile's bytes are stored. Every codec gives back exactly the bytes it was given.

  raw    as they are
  zstd   Zstandard, level 1
  bf16e3 bfloat16 with exponents in three bits (bf16_planes.py): seven tenths of the size, a few instructions to decode
  bf16   bfloat16 pairs in two planes: high bytes (sign and most of the exponent, few values, entropy-coded by
         Zstandard) behind a 4-byte length, then low bytes as they are. About two thirds of the size for trained or
         Gaussian weights (the observation behind DFloat11, arXiv 2504.11651, and ZipNN, arXiv 2411.05239)

A codec is kept only where it saves at least 5%: packed 4-bit codes are near random and stay raw.
"""

from __future__ import annotations

import struct

import numpy as np
import zstandard

from vortex.c3.format.bf16_planes import decode_planes, encode_planes

RAW, ZSTD, BF16, BF16_E3 = "raw", "zstd", "bf16", "bf16e3"
CODECS = (RAW, ZSTD, BF16, BF16_E3)
LEVEL = 1
WORTHWHILE = 0.95
FAST_ENOUGH = 0.75  # bf16e3 up to this share of the size; beyond it, the slower codec shrinks more
PROBE_BYTES = 256 << 10
LENGTH = struct.Struct("<I")


class CodecError(ValueError):
    """Stored bytes that no encoder wrote."""


def encode(tile: np.ndarray, *, is_bf16: bool) -> tuple[str, bytes | np.ndarray]:
    """The codec that pays for these bytes (uint8 [n]), and what to store."""
    codec = BF16 if is_bf16 and len(tile) % 2 == 0 else ZSTD
    if codec == BF16:
        planes = encode_planes(tile)
        if len(planes) <= FAST_ENOUGH * len(tile):
            return BF16_E3, planes
    probe = tile[:PROBE_BYTES]
    if len(tile) > 2 * PROBE_BYTES and len(encoded(codec, probe)) > WORTHWHILE * len(probe):
        return RAW, tile
    stored = encoded(codec, tile)
    return (codec, stored) if len(stored) <= WORTHWHILE * len(tile) else (RAW, tile)


def encoded(codec: str, tile: np.ndarray) -> bytes:
    """The tile in this codec, whether it pays or not."""
    if codec == BF16_E3:
        return encode_planes(tile)
    compressor = zstandard.ZstdCompressor(level=LEVEL, write_checksum=False)
    if codec == ZSTD:
        return compressor.compress(tile.tobytes())
    pairs = tile.reshape(-1, 2)
    high = compressor.compress(pairs[:, 1].tobytes())
    return LENGTH.pack(len(high)) + high + pairs[:, 0].tobytes()


def decode(codec: str, stored: memoryview, out: np.ndarray) -> None:
    """Fills `out`, uint8 [n]. Raises CodecError when the bytes are not of this codec and length."""
    try:
        if codec == RAW:
            out[:] = np.frombuffer(stored, np.uint8)
        elif codec == BF16_E3:
            decode_planes(stored, out)
        elif codec == ZSTD:
            out[:] = _decompressed(stored, len(out))
        elif codec == BF16:
            (length,) = LENGTH.unpack_from(stored)
            pairs, half = out.reshape(-1, 2), len(out) // 2
            pairs[:, 1] = _decompressed(stored[LENGTH.size : LENGTH.size + length], half)
            pairs[:, 0] = np.frombuffer(stored[LENGTH.size + length :], np.uint8)
        else:
            raise CodecError(f"codec {codec!r} is unknown; known: {', '.join(CODECS)}")
    except (ValueError, struct.error, zstandard.ZstdError) as error:
        raise CodecError(str(error)) from error


def _decompressed(stored: memoryview, num_bytes: int) -> np.ndarray:
    data = zstandard.ZstdDecompressor().decompress(stored, max_output_size=num_bytes)
    return np.frombuffer(data, np.uint8)
