"""Codec `bf16e3`: bfloat16 in fixed planes, so that decoding is a handful of instructions per 64 weights.

A bfloat16 is a sign, an exponent of 8 bits and a mantissa of 7. Trained and Gaussian weights spread over few exponents,
so within a tile seven neighbouring ones (`top`, `top` - 1, ...) cover nearly all: three bits say which, the eighth code
says that the exponent is the next of a list. Stored, for n weights padded to a multiple of 64:
  8 bytes   top (one byte, three of zeros), number of escapes (little-endian)
  n         sign and mantissa, a byte each
  n / 64    times three words of 64 bits: bit i of word k is bit k of weight i's code
  escapes   exponents, a byte each
Decoded by the native core (src/native/lossless.h) where it is there, else by numpy; both refuse lengths that lie.
"""

from __future__ import annotations

import struct

import numpy as np

from vortex.kernels import dispatch

HEADER = struct.Struct("<BxxxI")
GROUP = 64
CODE_BYTES = 24
ESCAPE = 7
SAMPLED = 100_000


def encode_planes(tile: np.ndarray) -> bytes:
    """tile: uint8 [2 n]."""
    words = tile.view(np.uint16)
    words = np.pad(words, (0, -len(words) % GROUP), mode="edge" if len(words) else "constant")
    low, high = words.astype(np.uint8), (words >> 8).astype(np.uint8)
    exponents = high << 1 | low >> 7
    rest = high & 0x80 | low & 0x7F
    top = _best_top(exponents)
    distance = np.uint8(top) - exponents
    codes = np.minimum(distance, ESCAPE)
    planes = [np.packbits(codes >> bit & 1, bitorder="little").reshape(-1, 8) for bit in range(3)]
    escapes = exponents[codes == ESCAPE]
    return HEADER.pack(top, len(escapes)) + rest.tobytes() + np.stack(planes, 1).tobytes() + escapes.tobytes()


def decode_planes(stored: memoryview, out: np.ndarray) -> None:
    """Fills `out`, uint8 [2 n]. Raises ValueError for bytes that `encode_planes` did not write."""
    num_weights = len(out) // 2
    padded = num_weights + -num_weights % GROUP
    top, num_escapes = HEADER.unpack_from(stored)
    codes_end = HEADER.size + padded + padded // GROUP * CODE_BYTES
    if len(out) % 2 or len(stored) != codes_end + num_escapes:
        raise ValueError(f"{len(stored)} bytes for {num_weights} weights and {num_escapes} escapes")
    data = np.frombuffer(stored, np.uint8)
    rest, codes = data[HEADER.size : HEADER.size + padded], data[HEADER.size + padded : codes_end]
    whole = padded == num_weights and out.ctypes.data % 2 == 0
    target = out if whole else np.empty(2 * padded, np.uint8)
    decoder = _native_decode if dispatch.usable() else decode_e3
    if decoder(rest, codes, top, data[codes_end:], target) != num_escapes:
        raise ValueError("its codes ask for another number of escapes")
    if not whole:
        out[:] = target[: len(out)]


def decode_e3(rest: np.ndarray, codes: np.ndarray, top: int, escapes: np.ndarray, out: np.ndarray) -> int:
    """The readable twin of src/native/lossless.h: fills `out`, and says how many escapes the codes ask for."""
    bits = np.unpackbits(codes.reshape(-1, 3, 8), axis=-1, bitorder="little")  # [groups, 3, 64]
    code = (bits[:, 0] | bits[:, 1] << 1 | bits[:, 2] << 2).reshape(-1)
    exponents = np.uint8(top) - code
    places = np.flatnonzero(code == ESCAPE)
    exponents[places[: len(escapes)]] = escapes[: len(places)]
    words = (rest.astype(np.uint16) & 0x80) << 8 | exponents.astype(np.uint16) << 7 | rest & 0x7F
    out[:] = words.view(np.uint8)
    return len(places)


def _native_decode(rest: np.ndarray, codes: np.ndarray, top: int, escapes: np.ndarray, out: np.ndarray) -> int:
    """On the calling thread, one of many; `dispatch.load` would set up the compute threads, so it is not asked."""
    module = dispatch.native_module()
    assert module is not None, "dispatch.usable() said so"
    return int(module.decode_bf16e3(rest, codes, top, escapes, out))


def _best_top(exponents: np.ndarray) -> int:
    """The highest of the seven neighbouring exponents that cover the most weights."""
    step = 1 + len(exponents) // SAMPLED  # a sample tells as well, and counting takes longer than all the rest
    counts = np.bincount(exponents[::step], minlength=256)
    covered = np.convolve(counts, np.ones(ESCAPE, np.int64))[ESCAPE - 1 : 256]  # of exponents top - 6 ... top
    return int(covered.argmax()) + ESCAPE - 1
