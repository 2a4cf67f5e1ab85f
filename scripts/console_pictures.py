"""Draw docs/images/console-*.png in a real Chromium, and print what the pages weigh and how soon they paint, as JSON.

python scripts/console_pictures.py
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
TEST = "tests/console/test_pictures.py"


def main() -> int:
    command = [sys.executable, "-m", "pytest", "-q", "-s", "-m", "browser", TEST]
    environment = {**os.environ, "VORTEX_PICTURES": str(ROOT / "docs" / "images")}
    return subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
