"""A place for the console's folders, and somebody who is inside."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.console.serving import Person, Place, serving
from vortex.console.doors import Doors


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("console")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VORTEX_DATA", str(folder / "data"))
        for name in ("STATE", "CONFIG"):
            patch.setenv(f"XDG_{name}_HOME", str(folder / name.lower()))
        yield Place(folder / "data", Doors(folder / "state" / "vortex" / "console"), folder)


@pytest.fixture(scope="module")
def address(place: Place) -> Iterator[str]:
    with serving(place) as found:
        yield found


@pytest.fixture(scope="module")
def person(address: str, place: Place) -> Iterator[Person]:
    with Person(address) as found:
        assert found.enter(place.doors).status_code == 200
        yield found
