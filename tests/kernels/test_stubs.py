"""What the type checker believes of the compiled modules is what they are."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from vortex.kernels.native import NativeCore

SCRIPT = Path(__file__).parents[2] / "scripts" / "write_native_stubs.py"


def test_the_stubs_are_those_of_the_compiled_modules(native: NativeCore) -> None:
    result = subprocess.run([sys.executable, SCRIPT, "--check"], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    missing = [name for name in dir(NativeCore) if not name.startswith("_") and not hasattr(native, name)]
    assert not missing
