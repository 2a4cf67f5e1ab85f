"""Open WebUI by Docker Compose. Docker watches it; the stack only asks for it and says so where Docker is missing."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from vortex.config.addresses import ENV_FILE, Addresses
from vortex.errors import BackendError
from vortex.stack.services import Service

COMPOSE_FILE = Path("docker-compose.yml")
TIMEOUT_S = 900.0
FIRST_START_S = 300.0


def ui_service(addresses: Addresses) -> Service:
    url = f"http://127.0.0.1:{addresses.ui_port}"
    return Service(name="ui", command=(), url=url, health_url=f"{url}/health", start_timeout_s=FIRST_START_S)


def missing() -> str:
    """Why the user interface cannot be started here, "" when it can."""
    if not COMPOSE_FILE.exists():
        return f"there is no {COMPOSE_FILE} in this folder"
    if shutil.which("docker") is None:
        return "Docker is not installed"
    if subprocess.run(["docker", "compose", "version"], capture_output=True, check=False).returncode:
        return "Docker has no `compose`"
    return ""


def bring_up(addresses: Addresses) -> None:
    """Raises BackendError with what Docker says last."""
    _compose(["up", "-d"], addresses)


def take_down(addresses: Addresses) -> None:
    """Raises BackendError with what Docker says last."""
    _compose(["down"], addresses)


def logs(lines: int, *, follow: bool) -> None:
    options = ["--tail", str(lines), *(["--follow"] if follow else [])]
    subprocess.run(["docker", "compose", "logs", *options], check=False)


def _compose(words: Sequence[str], addresses: Addresses) -> None:
    env_file = ["--env-file", str(ENV_FILE)] if ENV_FILE.exists() else []
    variables = {
        "UI_PORT": str(addresses.ui_port),
        "GATEWAY_URL": addresses.gateway_url,
        "LKN_API_KEY": addresses.api_key or "none",
    }
    result = subprocess.run(
        ["docker", "compose", *env_file, *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT_S,
        env={**os.environ, **variables},
    )
    if result.returncode:
        last = (result.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise BackendError(f"docker compose {words[0]} failed: {last}")
