"""`--core NAME=NUMBER`."""

from __future__ import annotations

import pytest

from vortex.cli.improve.core_fields import fields_of
from vortex.errors import RequestError


def test_whole_numbers_and_shares_keep_their_kind() -> None:
    found = fields_of(["num_layers=12", "lava_foresight=0.1"])
    assert found == {"num_layers": 12, "lava_foresight": 0.1}
    assert isinstance(found["num_layers"], int)


def test_what_no_core_has_is_refused_by_name() -> None:
    with pytest.raises(RequestError, match=r"a core has no layers: .*num_layers"):
        fields_of(["layers=3"])
    with pytest.raises(RequestError, match="wants NAME=NUMBER, not 'num_layers'"):
        fields_of(["num_layers"])
