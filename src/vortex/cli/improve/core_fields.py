"""`--core NAME=NUMBER`: fields of a core that is trained, beyond its named size."""

from __future__ import annotations

from typing import Annotated

import typer

CoreFieldOption = Annotated[
    list[str] | None, typer.Option("--core", help="A field of the core, as lava_writes=16. Repeatable.")
]


def fields_of(texts: list[str]) -> dict[str, int | float]:
    """NAME=NUMBER each. Raises RequestError for what is neither or no field of a core."""
    import dataclasses

    from vortex.errors import RequestError
    from vortex.vblocks.config import CoreConfig

    known, found = {field.name for field in dataclasses.fields(CoreConfig)}, {}
    for text in texts:
        name, _, number = text.partition("=")
        try:
            found[name] = float(number) if "." in number else int(number)
        except ValueError as error:
            raise RequestError(f"--core wants NAME=NUMBER, not {text!r}") from error
        if name not in known:
            raise RequestError(f"a core has no {name}: {', '.join(sorted(known - {'vocab_size'}))}")
    return found
