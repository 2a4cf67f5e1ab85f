"""Every test of walls runs in every tier that this machine has; a tier that is missing is reported, not hidden.

The first tier is quick; the others are `long`, so that the quick tests stay quick.
"""

from __future__ import annotations

import pytest

from vortex.sandbox import TIERS, probe

OTHERS = [pytest.param(name, marks=pytest.mark.long) for name in TIERS[1:]]


@pytest.fixture(params=[TIERS[0], *OTHERS])
def tier(request: pytest.FixtureRequest) -> str:
    probed = probe(request.param)
    if not probed.available:
        pytest.skip(f"tier {request.param} cannot be had here: {probed.why_not}")
    return request.param
