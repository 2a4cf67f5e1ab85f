"""The Dockerfile's last stage without a daemon: its own steps, one by one, in a change of root (needs root).

    python scripts/check_release.py --once --no-tools --out dist
    debootstrap --variant=minbase --include=python3-pip,ca-certificates bookworm ROOT
    python scripts/check_container.py --root ROOT --wheel dist/klimeai-*.whl

The base image is the given folder (Debian's own Python, where the image has another), the build stage the given wheel.
Then it is started as the Dockerfile says: its user, environment and command, the root read-only, one volume; its
health check is asked until it is content, and its API one question. No image is built, no registry is asked.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).parent.parent
START_S = 300
PORT = 8000


def last_stage() -> list[tuple[str, str]]:
    """The instructions after the last FROM, continued lines joined."""
    lines = [line for line in (ROOT / "Dockerfile").read_text().splitlines() if line and not line.startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines)).splitlines()
    every = [(word, rest) for word, _, rest in (line.partition(" ") for line in joined)]
    return every[max(index for index, (word, _) in enumerate(every) if word == "FROM") + 1 :]


def value(name: str) -> str:
    return next(rest for word, rest in last_stage() if word == name)


def environment() -> dict[str, str]:
    """What runs in it sees: the stage's ENV and ARG, a path, and this machine's way to its package index."""
    own = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "PIP_BREAK_SYSTEM_PACKAGES": "1"}
    own |= {name: text for name, text in os.environ.items() if name.startswith("PIP_") or name.endswith("_CA_BUNDLE")}
    for word, rest in last_stage():
        if word in {"ENV", "ARG"}:
            own |= dict(pair.split("=", 1) for pair in rest.split())
    return own


def build(root: Path, wheel: Path) -> None:
    """COPY and RUN of the last stage, as root, in the root."""
    shutil.rmtree(root / "wheels", ignore_errors=True)
    (root / "wheels").mkdir()
    shutil.copy2(wheel, root / "wheels")
    shutil.copy2("/etc/resolv.conf", root / "etc")
    if authorities := os.environ.get("SSL_CERT_FILE"):  # whom this machine trusts for its package index
        shutil.copyfile(authorities, root / authorities.lstrip("/"))
    building = {name: text for name, text in environment().items() if name != "HOME"}
    for word, rest in last_stage():
        if word == "RUN":
            print(f"RUN {rest[:100]}…", flush=True)
            subprocess.run(["chroot", str(root), "/bin/sh", "-ec", rest], env=building, check=True)


def mounted(root: Path, volume: Path) -> None:
    """In a mount space of its own: the root read-only, the volume and /tmp writable, what a program needs of /dev."""
    inner = root / value("WORKDIR").lstrip("/")
    shutil.chown(volume, *(int(number) for number in value("USER").split(":")))
    for command in (
        ["mount", "--make-rprivate", "/"],
        ["mount", "--bind", str(root), str(root)],
        ["mount", "-o", "remount,bind,ro", str(root)],
        ["mount", "--bind", str(volume), str(inner)],
        ["mount", "-t", "tmpfs", "tmpfs", str(root / "tmp")],
        ["mount", "-t", "proc", "proc", str(root / "proc")],
        ["mount", "--rbind", "/dev", str(root / "dev")],
    ):
        subprocess.run(command, check=True)


def inside(root: Path, *command: str) -> list[str]:
    """The command as the container's user, without a capability."""
    user, group = value("USER").split(":")
    words = [
        "setpriv",
        f"--reuid={user}",
        f"--regid={group}",
        "--clear-groups",
        "--no-new-privs",
        "--bounding-set=-all",
    ]
    return ["chroot", str(root), *words, *command]


def run(root: Path) -> None:
    """Start it, wait for its health, ask it, end it as Docker would. Raises where one of these fails."""
    key = secrets.token_hex(16)
    own = environment() | {"KLIMEAI_API_TOKEN": key}
    denied = subprocess.run(inside(root, "touch", "/usr/written"), env=own, capture_output=True, text=True, check=False)
    assert "Read-only" in denied.stderr, denied.stderr
    started = time.monotonic()
    command = json.loads(value("ENTRYPOINT")) + json.loads(value("CMD"))
    container = subprocess.Popen(inside(root, *command), env=own)
    try:
        health = json.loads(value("HEALTHCHECK").partition("CMD ")[2])
        while subprocess.run(inside(root, *health), env=own, stderr=subprocess.DEVNULL, check=False).returncode:
            assert container.poll() is None, "the container ended"
            assert time.monotonic() - started < START_S, "it did not become healthy"
            time.sleep(1)
        print(f"healthy after {time.monotonic() - started:.0f} s (the model was fetched)", flush=True)
        body = {
            "messages": [{"role": "user", "content": "What is the capital of France?"}],
            "model": "smollm2-135m",
            "max_tokens": 12,
        }
        request = urllib.request.Request(
            f"http://127.0.0.1:{PORT}/v1/chat/completions",
            json.dumps(body).encode(),
            {"content-type": "application/json", "authorization": f"Bearer {key}"},
        )
        with urllib.request.urlopen(request, timeout=START_S) as response:  # noqa: S310
            print("answer:", json.loads(response.read())["choices"][0]["message"]["content"], flush=True)
    finally:
        container.terminate()
        print("ended with", container.wait(60), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--wheel", type=Path, required=True)
    parser.add_argument("--only-run", action="store_true", help="the stage's steps were taken before")
    parser.add_argument("--mounted", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.mounted:
        mounted(options.root, options.mounted)
        run(options.root)
        return
    if not options.only_run:
        build(options.root, options.wheel)
    with tempfile.TemporaryDirectory() as volume:
        again = [
            sys.executable,
            __file__,
            "--root",
            str(options.root),
            "--wheel",
            str(options.wheel),
            "--mounted",
            volume,
        ]
        sys.exit(subprocess.run(["unshare", "--mount", *again], check=False).returncode)


if __name__ == "__main__":
    main()
