"""Every test of walls runs in every tier that this machine has; a tier that is missing is reported, not hidden."""

from __future__ import annotations

import pytest

from vortex.sandbox import TIERS, probe


@pytest.fixture(params=TIERS)
def tier(request: pytest.FixtureRequest) -> str:
    probed = probe(request.param)
    if not probed.available:
        pytest.skip(f"tier {request.param} cannot be had here: {probed.why_not}")
    return request.param
