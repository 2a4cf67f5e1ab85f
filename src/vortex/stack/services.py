"""What the stack runs: the command, address and health check of each service, by the engine's kind.

Pure planning from the variables; nothing is started here. What a machine lacks is said before anything is.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from vortex.config.addresses import Addresses
from vortex.config.variables import LOOPBACK
from vortex.errors import ConfigError, MissingCapability
from vortex.machine.python_program import python_module, safe_environment

SGLANG_MODEL = "Qwen/Qwen2.5-3B-Instruct-AWQ"  # the seed's default
FIND_SGLANG = "import importlib.util, sys; sys.exit(importlib.util.find_spec('sglang') is None)"
GPU_KINDS = ("sglang", "vllm")
INSTALL = {
    "python3": "install Python 3",
    "vllm": "install it: pip install vllm; or set ENGINE_KIND=vortex",
    "llama-server": "install llama.cpp's server; or set ENGINE_KIND=vortex",
}


@dataclass(frozen=True, slots=True)
class Service:
    """A program to keep running. `command` empty: somebody else runs it. `health_url` answers 200 when it is ready."""

    name: str
    command: Sequence[str]
    url: str
    health_url: str
    start_timeout_s: float
    variables: Mapping[str, str] = field(default_factory=dict)
    any_answer_is_health: bool = False


def engine_service(addresses: Addresses) -> Service:
    """Raises ConfigError where the address is not this machine's and a kind is to be started."""
    url = addresses.engine_urls[0]
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    kind = addresses.engine_kind
    if kind != "external" and host not in LOOPBACK:
        raise ConfigError(f"ENGINE_BASE_URL={url} is another machine's: set ENGINE_KIND=external, or use 127.0.0.1")
    variables = {"KLIMEAI_API_TOKEN": addresses.engine_api_key} if addresses.engine_api_key and kind == "vortex" else {}
    return Service(
        name="engine",
        command=engine_command(addresses, host, port),
        url=url,
        health_url=f"{url}/v1/models",
        start_timeout_s=addresses.engine_start_timeout_s,
        variables=variables,
    )


def engine_command(addresses: Addresses, host: str, port: int) -> list[str]:
    model, share = addresses.engine_model, str(addresses.engine_mem_fraction)
    where = ["--host", host, "--port", str(port)]
    match addresses.engine_kind:
        case "vortex":
            return python_module("vortex", "serve", *where, *(["--model", model] if model else []))
        case "sglang":
            chosen = ["--model-path", model or SGLANG_MODEL, "--mem-fraction-static", share]
            return ["python3", "-m", "sglang.launch_server", *chosen, *where]
        case "vllm":
            return ["vllm", "serve", model or SGLANG_MODEL, "--gpu-memory-utilization", share, *where]
        case "llama-server":
            if not model:
                raise ConfigError("ENGINE_MODEL= is empty: llama-server needs a GGUF file or a Hugging Face repo")
            return ["llama-server", "-m" if model.endswith(".gguf") else "-hf", model, *where]
        case _:
            return []


def gateway_service(addresses: Addresses) -> Service:
    return Service(
        name="gateway",
        command=python_module("vortex.gateway"),
        url=addresses.gateway_url,
        health_url=f"{addresses.gateway_url}/healthz",
        start_timeout_s=30.0,
        any_answer_is_health=True,
    )


def check_machine(addresses: Addresses) -> None:
    """Raises MissingCapability naming what the engine's kind needs and this machine lacks."""
    kind = addresses.engine_kind
    if sys.platform == "win32":
        raise MissingCapability(
            "`vortex up` needs Linux, WSL or macOS; on Windows run `vortex serve` and `vortex gateway`"
        )
    program = {"sglang": "python3", "vllm": "vllm", "llama-server": "llama-server"}.get(kind)
    if program and shutil.which(program) is None:
        raise MissingCapability(f"ENGINE_KIND={kind} needs `{program}`, which is not installed: {INSTALL[program]}")
    if kind in GPU_KINDS and shutil.which("nvidia-smi") is None:
        raise MissingCapability(f"ENGINE_KIND={kind} needs an NVIDIA GPU with its driver: set ENGINE_KIND=vortex here")
    if (
        kind == "sglang"
        and subprocess.run(["python3", "-c", FIND_SGLANG], check=False, cwd="/", env=safe_environment()).returncode
    ):
        raise MissingCapability('ENGINE_KIND=sglang needs SGLang: pip install "sglang[all]"; or set ENGINE_KIND=vortex')
