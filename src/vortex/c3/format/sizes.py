"""Sizes as people write them: 2.2GB, 700MiB, 3000 (megabytes where a setting says so)."""

from __future__ import annotations

import re

from vortex.errors import ConfigError

UNITS = {"": 1, "B": 1, "K": 10**3, "KB": 10**3, "M": 10**6, "MB": 10**6, "G": 10**9, "GB": 10**9, "T": 10**12,
         "TB": 10**12, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40}  # fmt: skip


def parse_bytes(text: str) -> int:
    """Raises ConfigError for what is not a size; a trailing `/s` of a rate is ignored."""
    match = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]*)(?:/s)?\s*", text)
    if not match or match[2].upper() not in UNITS:
        raise ConfigError(f"'{text}' is not a size; write it like 2.2GB or 700MiB")
    return int(float(match[1]) * UNITS[match[2].upper()])


def spell_bytes(num_bytes: int) -> str:
    """Three significant digits, decimal units; rounded up, so that what is spelled is enough."""
    for unit, size in (("GB", 10**9), ("MB", 10**6), ("KB", 10**3)):
        if num_bytes >= size:
            digits = 2 if num_bytes < 10 * size else 1 if num_bytes < 100 * size else 0
            step = size // 10**digits
            return f"{-(-num_bytes // step) * step / size:.{digits}f} {unit}"
    return f"{num_bytes} B"
