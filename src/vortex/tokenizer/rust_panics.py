"""What the `tokenizers` library throws, as errors of ours: its Rust panics pass every `except Exception`.

A pattern that backtracks without end makes the library panic on some texts; the exception it raises derives from
BaseException alone. Promises one line instead. An interrupt stays an interrupt.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from vortex.errors import VortexError

SHOWN_CHARACTERS = 200


@contextmanager
def panics_as(error: type[VortexError], message: str) -> Iterator[None]:
    """What the library raises inside becomes `error`, one line that ends with its own first line."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit, GeneratorExit, VortexError):
        raise
    except BaseException as failure:  # the library's PanicException has no other base and cannot be imported
        if not isinstance(failure, Exception) and type(failure).__name__ != "PanicException":
            raise
        reason = (str(failure).splitlines() or [type(failure).__name__])[0][:SHOWN_CHARACTERS]
        raise error(f"{message} ({reason})") from failure
