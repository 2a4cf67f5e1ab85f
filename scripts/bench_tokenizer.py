"""The tokenizer's comparison under the name the first design gave it.

python scripts/bench_tokenizer.py --profile dev_small
"""

from __future__ import annotations

import sys

from vortex.cli.app import main

if __name__ == "__main__":
    sys.argv[1:1] = ["bench", "tokenizer"]
    main()
