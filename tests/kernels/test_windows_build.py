"""The kernels compile for Windows by mingw-w64 with no warning, and compute Linux's bits under Wine.

A compile check and an emulator: neither is Windows.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
COMPILER = "x86_64-w64-mingw32-g++-posix"
WINE = "/usr/lib/wine/wine64"
LIMIT_S = 1200
WINE_LIMIT_S = 120
BITS_ON_LINUX = "e595041659e14de4"  # what the same program prints there, for every set

pytestmark = pytest.mark.windows


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("windows")
    settings = {
        "CMAKE_SYSTEM_NAME": "Windows",
        "CMAKE_SYSTEM_PROCESSOR": "x86_64",
        "CMAKE_CXX_COMPILER": COMPILER,
        "VORTEX_KERNELS_ONLY": "ON",
    }
    given = [f"-D{name}={value}" for name, value in settings.items()]
    subprocess.run(["cmake", "-S", str(ROOT), "-B", str(folder), *given], check=True, stdout=subprocess.DEVNULL)
    built = subprocess.run(
        ["cmake", "--build", str(folder)], capture_output=True, text=True, timeout=LIMIT_S, check=False
    )
    assert built.returncode == 0, built.stdout[-3000:] + built.stderr[-1000:]
    assert "warning" not in built.stdout
    return folder / "libvortex_kernels.a"


def test_every_instruction_set_is_compiled(library: Path) -> None:
    names = subprocess.run(
        ["x86_64-w64-mingw32-nm", "-C", str(library)], capture_output=True, text=True, check=True
    ).stdout
    for table in ("scalar_kernels", "avx2_kernels", "avx512_kernels"):
        assert f" R vortex::{table}" in names or f" D vortex::{table}" in names


def test_the_program_runs_under_wine_and_its_sets_agree(library: Path, tmp_path: Path) -> None:
    program = tmp_path / "check.exe"
    source = ROOT / "tests" / "kernels" / "windows" / "check.cpp"
    headers = ["-I", str(ROOT / "src" / "native")]
    options = ["-std=c++20", "-O2", "-ffp-contract=off", "-static", "-o", str(program)]
    subprocess.run([COMPILER, *options, *headers, str(source), str(library)], check=True)
    own = {"WINEPREFIX": str(tmp_path / "wine"), "WINEDEBUG": "-all", "DISPLAY": ""}
    wine = shutil.which("wine64") or WINE
    ran = subprocess.run(
        [wine, str(program)],
        env={**os.environ, **own},
        capture_output=True,
        text=True,
        timeout=WINE_LIMIT_S,
        check=False,
    )
    assert ran.returncode == 0, f"{ran.stdout} {ran.stderr[-500:]}"
    assert ran.stdout.strip().endswith("team of 3")
    words = ran.stdout.split()
    printed = dict(zip(words[::2], words[1::2], strict=False))
    assert "scalar" in printed
    wide = {name: bits for name, bits in printed.items() if name.startswith("avx")}
    assert wide == dict.fromkeys(wide, BITS_ON_LINUX)
