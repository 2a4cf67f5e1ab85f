"""From this tree to what a stranger installs, and everything that must hold of it before it is published.

    pip install -e '.[dev]' && python scripts/check_release.py --json-out benchmarks/results/DATE-release.json

Builds an sdist and a wheel twice (same bytes), looks inside, tells the oldest systems the wheel runs on and repairs it,
then is the stranger: a fresh virtual environment with no compiler in reach installs the wheel and asks the README's
question with nothing cached. Then the manners: a bill of materials, installed over itself, uninstalled, pipx, uv. Needs
pip's network for the dependencies. Publishes nothing.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import venv
from dataclasses import dataclass, field
from pathlib import Path

from release_packages import Packages, build, faults_of_sdist, faults_of_wheel

from vortex.bench.report import Report, save_json
from vortex.machine.python_program import python_module

ROOT = Path(__file__).parent.parent
QUESTION = "What is the capital of France?"
ANSWER_LIMIT_S = 40.0  # from the command to the answer, where all of it is fetched


@dataclass(slots=True)
class Findings:
    rows: list[list[str]] = field(default_factory=list)
    figures: dict[str, object] = field(default_factory=dict)
    failed: bool = False

    def add(self, what: str, said: str, held: bool = True, **figures: object) -> None:
        self.rows.append([what, said, "yes" if held else "NO"])
        self.figures |= figures
        self.failed |= not held
        print(f"{'ok  ' if held else 'FAIL'} {what}: {said}", flush=True)


class Stranger:
    """A fresh virtual environment, a home of its own, and no compiler."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home = folder / "home"
        self.home.mkdir(parents=True)
        venv.create(folder / "venv", with_pip=True)
        self.programs = folder / "venv" / "bin"
        self.python = self.programs / "python"
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("VORTEX", "PYTHON", "XDG"))}
        own = {"HOME": str(self.home), "PATH": str(self.programs), "CC": "/nonexistent", "CXX": "/nonexistent"}
        self.environment = {**kept, **own, "PIP_ONLY_BINARY": ":all:", "PIP_NO_CACHE_DIR": "1"}

    def run(self, *command: str, **further: str) -> subprocess.CompletedProcess[str]:
        environment = {**self.environment, **further}
        return subprocess.run(
            command,
            env=environment,
            cwd=self.home,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            check=False,
        )

    def pip(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.run(str(self.python), "-m", "pip", "-q", *arguments)


def of_children_s() -> float:
    """Processor seconds of the programs that have ended: what stays true on a busy machine."""
    spent = os.times()
    return spent.children_user + spent.children_system


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def check_packages(found: Findings, folder: Path, *, twice: bool) -> Packages:
    started = time.monotonic()
    made = build(ROOT, folder / "first")
    found.add("built", f"{made.wheel.name}, {time.monotonic() - started:.0f} s", wheel=made.wheel.name)
    for path, faults in ((made.sdist, faults_of_sdist(made.sdist)), (made.wheel, faults_of_wheel(made.wheel))):
        size = path.stat().st_size
        said = "; ".join(faults) or f"{size / 1e6:.1f} MB, nothing missing, nothing beside it"
        kind = "wheel" if path is made.wheel else "sdist"
        found.add(f"inside the {kind}", said, not faults, **{f"{kind}_bytes": size, f"{kind}_sha256": digest(path)})
    if twice:
        elsewhere = folder / "another name" / "tree"
        shutil.copytree(ROOT, elsewhere, ignore=shutil.ignore_patterns(".venv", "build", ".git", "*.so", ".*_cache"))
        again = build(elsewhere, folder / "second")
        same = {path.name for path in (made.sdist, made.wheel)} and [
            digest(one) == digest(other) for one, other in ((made.sdist, again.sdist), (made.wheel, again.wheel))
        ]
        said = f"sdist {'the same' if same[0] else 'other'} bytes, wheel {'the same' if same[1] else 'other'} bytes"
        found.add("built again, elsewhere", said, all(same), reproducible=all(same))
    return made


def repair(found: Findings, made: Packages, out: Path) -> Path:
    """The wheel under the tag of the oldest systems it runs on."""
    out.mkdir(parents=True)
    command = python_module("auditwheel", "repair", "--only-plat", "-w", str(out), str(made.wheel))
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    repaired = next(out.glob("*.whl"), None)
    if repaired is None:
        found.add("auditwheel", (result.stderr or result.stdout).strip().splitlines()[-1], held=False)
        return made.wheel
    faults = faults_of_wheel(repaired)
    found.add("auditwheel", "; ".join(faults) or repaired.name, not faults, repaired=repaired.name)
    return repaired


def check_stranger(found: Findings, wheel: Path, folder: Path) -> None:
    """Installs and asks, as the README says; then installs it over itself and takes it away."""
    stranger = Stranger(folder)
    started, worked = time.monotonic(), of_children_s()
    installed = stranger.pip("install", str(wheel))
    install_s = time.monotonic() - started
    if installed.returncode:
        found.add("installed", installed.stderr.strip()[-300:], held=False)
        return
    asked = stranger.run(str(stranger.programs / "vortex"), "chat", QUESTION)
    total_s, cpu_s = time.monotonic() - started, of_children_s() - worked
    right = asked.returncode == 0 and "Paris" in asked.stdout
    said = f"{total_s:.1f} s from nothing ({install_s:.1f} s of pip), {cpu_s:.1f} s of processor, no compiler: "
    said += repr(asked.stdout.strip()[:60])
    if not right:
        said = asked.stderr.strip()[-300:]
    figures = {"nothing_to_answer_s": round(total_s, 1), "install_s": round(install_s, 1), "cpu_s": round(cpu_s, 1)}
    found.add(f"an answer in {ANSWER_LIMIT_S:.0f} s", said, right and total_s <= ANSWER_LIMIT_S, **figures)
    kernels = stranger.run(str(stranger.python), "-P", "-m", "vortex.kernels", "--require-native")
    found.add("native core", kernels.stdout.strip(), kernels.returncode == 0)
    write_bill(found, stranger, folder / f"{wheel.name.split('-')[0]}.cdx.json")
    check_manners(found, stranger, wheel)


def check_manners(found: Findings, stranger: Stranger, wheel: Path) -> None:
    cache = sorted(path.name for path in stranger.home.rglob("*.gguf"))
    again = stranger.pip("install", "--force-reinstall", "--no-deps", str(wheel))
    kept = sorted(path.name for path in stranger.home.rglob("*.gguf")) == cache
    version = stranger.run(str(stranger.programs / "klimeai"), "--version").stdout.strip()
    found.add("installed over itself", f"{version}, models kept", again.returncode == 0 and kept and bool(version))
    broken = stranger.pip("check")
    found.add("pip check", broken.stdout.strip() or "no broken requirements", broken.returncode == 0)
    gone = stranger.pip("uninstall", "-y", "klimeai")
    packages = next((stranger.folder / "venv" / "lib").glob("python*")) / "site-packages"
    left = [str(path.relative_to(packages)) for name in ("vortex", "c3rnt2") for path in packages.glob(f"{name}/**/*")]
    left += [name for name in ("vortex", "klimeai") if (stranger.programs / name).exists()]
    said = f"left behind: {left[:3]}" if left else "nothing of the program left; models stay in the user's cache"
    found.add("uninstalled", said, gone.returncode == 0 and not left)


def check_tools(found: Findings, wheel: Path, folder: Path) -> None:
    """`pipx install` and `uv tool install`, each in a home of its own."""
    stranger = Stranger(folder)
    if (got := stranger.pip("install", "pipx", "uv")).returncode:
        found.add("pipx, uv", got.stderr.strip()[-200:], held=False)
        return
    index = stranger.run(str(stranger.python), "-m", "pip", "config", "get", "global.index-url").stdout.strip()
    ways = {
        "pipx": [str(stranger.programs / "pipx"), "install", str(wheel)],
        "uv": [str(stranger.programs / "uv"), "tool", "install", "--python", str(stranger.python), str(wheel)],
    }
    for name, command in ways.items():
        home = folder / name
        own = {"PIPX_HOME": str(home), "PIPX_BIN_DIR": str(home / "bin"), "UV_TOOL_DIR": str(home)}
        own |= {"UV_TOOL_BIN_DIR": str(home / "bin"), "UV_CACHE_DIR": str(home / "cache"), "UV_NO_BUILD": "1"}
        own |= {"UV_DEFAULT_INDEX": index} if index and name == "uv" else {}
        installed = stranger.run(*command, **own)
        version = stranger.run(str(home / "bin" / "vortex"), "--version") if installed.returncode == 0 else installed
        said = version.stdout.strip() if version.returncode == 0 else installed.stderr.strip()[-200:]
        found.add(f"{name} install", said, version.returncode == 0)


def write_bill(found: Findings, stranger: Stranger, out: Path) -> None:
    """Of what the stranger has: the wheel and its dependencies, nothing of this environment."""
    result = stranger.run(str(stranger.python), "-P", str(ROOT / "scripts" / "write_sbom.py"), "--out", str(out))
    count = len(json.loads(out.read_text())["components"]) if result.returncode == 0 else 0
    said = f"{count} components, CycloneDX" if count else result.stderr[-200:]
    found.add("bill of materials", said, count > 0, components=count)


def check(found: Findings, options: argparse.Namespace, folder: Path) -> None:
    """All of it in order; with --wheel only what a stranger meets."""
    wheel = options.wheel
    if wheel is None:
        made = check_packages(found, folder, twice=not options.once)
        wheel = repair(found, made, folder / "repaired")
        if options.out:
            options.out.mkdir(parents=True, exist_ok=True)
            for path in (made.sdist, wheel):
                shutil.copy2(path, options.out)
    check_stranger(found, wheel.resolve(), folder / "stranger")
    if options.out and (bill := folder / "stranger" / "klimeai.cdx.json").exists():
        shutil.copy2(bill, options.out)
    if not options.no_tools:
        check_tools(found, wheel.resolve(), folder / "tools")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="keep the packages in this folder")
    parser.add_argument("--wheel", type=Path, help="build nothing: what a stranger meets with this wheel")
    parser.add_argument("--once", action="store_true", help="do not build a second time")
    parser.add_argument("--no-tools", action="store_true", help="leave out pipx and uv")
    parser.add_argument("--json-out", type=Path)
    options = parser.parse_args()
    found = Findings()
    with tempfile.TemporaryDirectory(prefix="vortex-release-") as name:
        check(found, options, Path(name))
    report = Report("release", "packages", ("", "", "held"), found.rows, {**found.figures, "held": not found.failed})
    if options.json_out:
        save_json(report, options.json_out)
    print(report.as_json())
    sys.exit(found.failed)


if __name__ == "__main__":
    main()
