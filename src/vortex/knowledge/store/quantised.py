"""A vector as it is stored: int8 with one scale, 4 bytes + width. The scan reads the same form.

Against float32 the cosine of unit vectors is off by at most about 0.005 (tests hold 0.01).
"""

from __future__ import annotations

import numpy as np


def quantise(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """rows [n, width] float32 -> (int8 [n, width], scales [n] float32)."""
    scales = np.maximum(np.abs(rows).max(axis=1), 1e-12).astype(np.float32) / np.float32(127)
    return np.rint(rows / scales[:, None]).astype(np.int8), scales


def to_blobs(rows: np.ndarray) -> list[bytes]:
    codes, scales = quantise(rows)
    return [scale.tobytes() + code.tobytes() for code, scale in zip(codes, scales.astype("<f4"), strict=True)]


def from_blobs(blobs: list[bytes]) -> tuple[np.ndarray, np.ndarray]:
    """All of one width. Gives (int8 [n, width], scales [n] float32)."""
    if not blobs:
        return np.empty((0, 0), np.int8), np.empty(0, np.float32)
    table = np.frombuffer(b"".join(blobs), np.uint8).reshape(len(blobs), -1)
    scales = np.ascontiguousarray(table[:, :4]).view("<f4").reshape(-1).astype(np.float32)
    return np.ascontiguousarray(table[:, 4:]).view(np.int8), scales
