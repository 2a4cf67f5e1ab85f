"""A command with many options takes them as one frozen dataclass; typer sees a parameter for each of its fields.

A field is written as a parameter would be: `steps: Annotated[int, typer.Option("--steps")] = 0`.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable
from typing import Any, TypeVar, get_type_hints

Options = TypeVar("Options")


def with_options(command: Callable[[Options], None]) -> Callable[..., None]:
    """`command(options)` with the signature that typer reads, and its docstring."""
    (name,) = inspect.signature(command).parameters
    kind: Any = get_type_hints(command)[name]
    hints = get_type_hints(kind, include_extras=True)

    @functools.wraps(command)
    def run(**values: Any) -> None:
        command(kind(**values))

    parameters = [
        inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=inspect.Parameter.empty if field.default is dataclasses.MISSING else field.default,
            annotation=hints[field.name],
        )
        for field in dataclasses.fields(kind)
    ]
    run.__dict__["__signature__"] = inspect.Signature(parameters)
    run.__annotations__ = hints
    return run
