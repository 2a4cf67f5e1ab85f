"""What is measured of the memory is a plausible figure, with the native core and without."""

from __future__ import annotations

import pytest

from vortex.kernels.memory_rate import memory_read_bytes_per_s


@pytest.mark.parametrize("kernels", ["", "reference"])
def test_memory_is_read(kernels: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VORTEX_KERNELS", kernels)
    assert 1e8 < memory_read_bytes_per_s(seconds=0.05) < 1e13
