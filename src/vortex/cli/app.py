"""The program `vortex` (also `klimeai`, `python -m vortex`, `python -m c3rnt2`).

Each command group lives in its own file (commands.py); commands import what they need when they run, so that the
program starts fast. An error a user can cause is one line on stderr with an exit code that scripts can rely on
(`errors.py`); VORTEX_DEBUG=1 shows the traceback.
"""

from __future__ import annotations

import io
import os
import sys
from typing import NoReturn

from vortex.errors import VortexError

INTERNAL_ERROR = 70


def main() -> None:
    """Run the command line and end the process with its exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that lacks a character shows a question mark
    if os.environ.get("VORTEX_DEBUG"):
        sys.exit(_run())
    try:
        sys.exit(_run())
    except VortexError as error:
        _fail(str(error), error.exit_code)
    except OSError as error:
        said = error.strerror or str(error) or type(error).__name__
        _fail(f"{said}{f': {error.filename}' if error.filename else ''}", 1)
    except Exception as error:
        _fail(f"internal: {type(error).__name__}: {error}; VORTEX_DEBUG=1 shows where", INTERNAL_ERROR)


def _run() -> int:
    """The exit code. What was mistyped is told here, in one line."""
    from typer import Abort

    from vortex.cli.commands import app_for
    from vortex.cli.mistakes import EXIT_CODE, Mistake, told

    app = app_for(sys.argv[1] if len(sys.argv) > 1 else None)
    try:
        ended = app(prog_name="vortex", standalone_mode=False)
    except Mistake as mistake:
        if (message := told(mistake)) is not None:
            _fail(message, EXIT_CODE)
        getattr(mistake, "show")()  # noqa: B009 - click's own, which its base class does not declare
        return EXIT_CODE
    except Abort:
        _fail("stopped before an answer", 1)
    return ended if isinstance(ended, int) else 0  # a command's own exit code; the others give nothing


def _fail(message: str, exit_code: int) -> NoReturn:
    one_line = " ".join(message.split())
    print(f"error: {one_line}", file=sys.stderr)
    sys.exit(exit_code)
