"""Walk through a running server, step by step; exits 1 if one failed.

python scripts/smoke_api.py --base-url http://localhost:8000
"""

from __future__ import annotations

import argparse
import os
import sys

from vortex.server.smoke import Walk

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base-url", default="http://127.0.0.1:8000")
    parser.add_argument("--api-key", default=os.environ.get("KLIMEAI_API_TOKEN"))
    arguments = parser.parse_args()
    failed = False
    for step in Walk(arguments.base_url, arguments.api_key).steps():
        print(f"{'ok    ' if step.passed else 'FAILED'}  {step.name}: {step.detail}")
        failed |= not step.passed
    sys.exit(int(failed))
