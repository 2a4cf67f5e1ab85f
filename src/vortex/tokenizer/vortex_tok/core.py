"""The native core where it was built, the reference where it was not: one set of names for both.

`VORTEX_TOKENIZER=reference` forces the Python twin. Promises equal results; `IS_NATIVE` says how fast they come.
"""

from __future__ import annotations

import importlib
import os
from types import ModuleType
from typing import TYPE_CHECKING

from vortex.tokenizer.vortex_tok import reference

if TYPE_CHECKING:
    from vortex.tokenizer.vortex_tok._vortex_tok import Core, StreamEncoder, learn_merges


def _native() -> ModuleType | None:
    if os.environ.get("VORTEX_TOKENIZER") == "reference":
        return None
    try:
        return importlib.import_module("vortex.tokenizer.vortex_tok._vortex_tok")
    except ModuleNotFoundError:
        return None


_found = _native()
IS_NATIVE = _found is not None
if not TYPE_CHECKING:
    Core = getattr(_found, "Core", reference.Core)
    StreamEncoder = getattr(_found, "StreamEncoder", reference.StreamEncoder)
    learn_merges = getattr(_found, "learn_merges", reference.learn_merges)

__all__ = ["IS_NATIVE", "Core", "StreamEncoder", "learn_merges"]
