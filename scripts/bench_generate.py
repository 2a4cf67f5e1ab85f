"""Decoding with drafts, beside decoding without, under the name the first design gave it.

python scripts/bench_generate.py --profile dev_small --max-new-tokens 512
"""

from __future__ import annotations

import sys

from vortex.cli.app import main

if __name__ == "__main__":
    sys.argv[1:1] = ["bench", "generate"]
    main()
