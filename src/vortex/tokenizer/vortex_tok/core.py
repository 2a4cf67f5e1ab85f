"""The native core where it was built, the reference where it was not: one set of names for both.

`VORTEX_TOKENIZER=reference` forces the Python twin. Promises equal results; `IS_NATIVE` says how fast they come.
"""

from __future__ import annotations

import os

from vortex.tokenizer.vortex_tok import reference

Core = reference.Core
StreamEncoder = reference.StreamEncoder
learn_merges = reference.learn_merges
IS_NATIVE = False

if os.environ.get("VORTEX_TOKENIZER") != "reference":
    try:
        from vortex.tokenizer.vortex_tok import _vortex_tok as native
    except ImportError:
        pass
    else:
        Core = native.Core
        StreamEncoder = native.StreamEncoder
        learn_merges = native.learn_merges
        IS_NATIVE = True
