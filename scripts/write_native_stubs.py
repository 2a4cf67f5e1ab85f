"""Write the type stubs of the compiled modules beside their packages; with --check, only say if they are current.

Needs the modules built and nanobind installed (the dev extra), whose own generator does the work. What is compared is
what the stubs say, not how a version of the generator lays it out.
"""

from __future__ import annotations

import argparse
import ast
import subprocess
import sys
import tempfile
from pathlib import Path

SOURCE = Path(__file__).parent.parent / "src"
MODULES = ("vortex.kernels._native", "vortex.tokenizer.vortex_tok._vortex_tok")
HEADER = "# Written by scripts/write_native_stubs.py from the compiled module; change src/native instead.\n"


def stub_of(module: str) -> str:
    """The stub's text, by nanobind's generator. Raises CalledProcessError where the module or nanobind is missing."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "stub.pyi"
        subprocess.run([sys.executable, "-m", "nanobind.stubgen", "-q", "-m", module, "-o", path], check=True)
        return HEADER + path.read_text(encoding="utf-8").lstrip()


def path_of(module: str) -> Path:
    return (SOURCE / Path(*module.split("."))).with_suffix(".pyi")


def is_current(module: str) -> bool:
    path = path_of(module)
    return path.exists() and ast.dump(ast.parse(path.read_text(encoding="utf-8"))) == ast.dump(
        ast.parse(stub_of(module))
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if a stub is out of date")
    check = parser.parse_args().check
    for module in MODULES:
        if check and not is_current(module):
            name = path_of(module).name
            print(f"{name} is behind the compiled module: python scripts/write_native_stubs.py", file=sys.stderr)
            return 1
        if not check:
            path_of(module).write_text(stub_of(module), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
