"""What the attention measurement times is attention: its check runs against numpy."""

from __future__ import annotations

import pytest

from vortex.bench.memory import attention
from vortex.kernels import dispatch

pytestmark = pytest.mark.skipif(dispatch.native_module() is None, reason="the native core was not built")


def test_its_layers_agree_with_numpy() -> None:
    attention.AttentionMeasurement().check()
