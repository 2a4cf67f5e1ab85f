"""The packages of a release as files: building them, and what must hold of what is inside.

Used by `scripts/check_release.py` and by the tests. A wheel is built from the sdist, never from the tree: a file that
the sdist lacks is missed here and not by a stranger. Does not do: upload anything.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

WHEEL_LIMIT_BYTES = 12_000_000
SDIST_LIMIT_BYTES = 12_000_000
NATIVE = (r"vortex/kernels/_native\..*(so|pyd)", r"vortex/tokenizer/vortex_tok/_vortex_tok\..*(so|pyd)")
IN_THE_WHEEL = (
    *NATIVE,
    r"vortex/py\.typed",
    r"vortex/config/profiles/default\.yaml",
    r"vortex/console/templates/frame\.html",
    r"vortex/console/static/console\.css",
    r"vortex/vblocks/shipped/model\.safetensors",
    r"c3rnt2/__main__\.py",
    r"klimeai-[^/]*\.dist-info/licenses/LICENSE",
    r"klimeai-[^/]*\.dist-info/licenses/THIRD_PARTY\.md",
)
IN_THE_SDIST = (
    r"CMakeLists\.txt",
    r"src/native/bindings/module\.cpp",
    r"README\.md",
    r"tests/conftest\.py",
    r"Dockerfile",
)
NOT_IN_THE_WHEEL = re.compile(r"(\.cpp|\.h|\.pyc|\.gguf|\.env)$|(^|/)(tests?|__pycache__|\.git)/")
OF_A_MACHINE = re.compile(rb"(/home/|/root/|/work/|/tmp/|/Users/|[A-Z]:\\Users)[\w.\\/-]+")
BUILT_AT = "1700000000"  # any fixed time: what is built does not depend on when


@dataclass(frozen=True, slots=True)
class Packages:
    sdist: Path
    wheel: Path


def build(tree: Path, out: Path) -> Packages:
    """An sdist of the tree, and a wheel of that sdist. Raises CalledProcessError with what was said on stderr."""
    environment = {"SOURCE_DATE_EPOCH": BUILT_AT, **os.environ}
    command = [sys.executable, "-P", "-m", "build", "--outdir", str(out), str(tree)]
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
    (sdist,), (wheel,) = out.glob("klimeai-*.tar.gz"), out.glob("klimeai-*.whl")
    return Packages(sdist, wheel)


def faults_of_wheel(wheel: Path) -> list[str]:
    """What is wrong with a wheel, in words; none: it may be published."""
    found = []
    if wheel.stat().st_size > WHEEL_LIMIT_BYTES:
        found.append(f"{wheel.stat().st_size:,} bytes are more than {WHEEL_LIMIT_BYTES:,}")
    if "none-any" in wheel.name:
        found.append("it has no native core: the compiler failed and the build went on without one")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        found += [f"it lacks {pattern}" for pattern in IN_THE_WHEEL if not _any(pattern, names)]
        found += [f"{name} does not belong there" for name in names if NOT_IN_THE_WHEEL.search(name)]
        roots = {name.split("/")[0] for name in names} - {"vortex", "c3rnt2"}
        found += [f"{root} would be installed beside us" for root in sorted(roots) if ".dist-info" not in root]
        for name in names:
            if _any("|".join(NATIVE), [name]) and (path := OF_A_MACHINE.search(archive.read(name))):
                found.append(f"{name} names a path of the machine that built it: {path[0].decode()[:60]}")
    return found


def faults_of_sdist(sdist: Path) -> list[str]:
    found = []
    if sdist.stat().st_size > SDIST_LIMIT_BYTES:
        found.append(f"{sdist.stat().st_size:,} bytes are more than {SDIST_LIMIT_BYTES:,}")
    with tarfile.open(sdist) as archive:
        names = [name.partition("/")[2] for name in archive.getnames()]
    found += [f"it lacks {pattern}" for pattern in IN_THE_SDIST if not _any(pattern, names)]
    found += [f"{name} does not belong there" for name in names if name.endswith((".so", ".pyc", ".gguf", "/.env"))]
    return found


def _any(pattern: str, names: list[str]) -> bool:
    return any(re.fullmatch(pattern, name) for name in names)
