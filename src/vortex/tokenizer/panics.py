"""A panic of the tokenizer library as an error like others.

The library's panics (a pattern that backtracks without end, a table that does not fit) are no `Exception`: they would
pass every net there is. The text that was being read is lost, the tokenizer is as it was.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from vortex.errors import ModelFileError, VortexError

MAX_REASON_CHARS = 120


@contextmanager
def panics_told(what: str) -> Iterator[None]:
    """ModelFileError, beginning with `what`, where the block panics, or the library raises its bare Exception."""
    try:
        yield
    except BaseException as error:
        if type(error).__name__ != "PanicException" and type(error) is not Exception:
            raise
        reason = " ".join(str(error).split())[:MAX_REASON_CHARS]
        raise ModelFileError(f"{what} ({reason}); take another file of the model") from None


@contextmanager
def reads(what: str) -> Iterator[None]:
    """ModelFileError of one line where the block, which loads a vocabulary, raises or panics."""
    try:
        with panics_told(f"{what} does not load"):
            yield
    except VortexError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:MAX_REASON_CHARS]
        raise ModelFileError(f"{what} does not load ({reason}); download it again") from error
