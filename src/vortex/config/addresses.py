"""Who listens where: the variables of the engine, the gateway and the user interface that several parts read.

The gateway and the scripts that bring the stack up must agree on these, so they are said once.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from vortex.config.variables import Variable, read_env_file, read_variables
from vortex.errors import ConfigError

ENV_FILE = Path("config/.env")
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
ENGINE_KINDS = ("vortex", "sglang", "vllm", "llama-server", "external")

ADDRESSES = (
    Variable(
        "ENGINE_BASE_URL", "engine_urls", "http://127.0.0.1:30000", "Engines, without /v1; several with commas", "urls"
    ),
    Variable("ENGINE_KIND", "engine_kind", "vortex", "What `vortex up` starts", "choice", choices=ENGINE_KINDS),
    Variable("ENGINE_MODEL", "engine_model", "", "Model the engine loads; empty: the default of its kind"),
    Variable(
        "ENGINE_MEM_FRACTION",
        "engine_mem_fraction",
        "0.85",
        "Share of GPU memory for sglang and vllm",
        "number",
        0.05,
        1.0,
    ),
    Variable("ENGINE_API_KEY", "engine_api_key", "", "Key the gateway shows to the engine", "secret"),
    Variable(
        "ENGINE_START_TIMEOUT_S", "engine_start_timeout_s", "900", "Longest start of an engine", "number", 1, 86400
    ),
    Variable("LKN_HOST", "host", "127.0.0.1", "Address the gateway listens on"),
    Variable("LKN_PORT", "port", "8000", "Port the gateway listens on", "integer", 0, 65535),
    Variable("LKN_API_KEY", "api_key", "", "Key that clients must show; needed beyond this machine", "secret"),
    Variable("UI_PORT", "ui_port", "3000", "Port of Open WebUI", "integer", 1, 65535),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Addresses:
    engine_urls: tuple[str, ...]
    engine_kind: str
    engine_model: str
    engine_mem_fraction: float
    engine_api_key: str
    engine_start_timeout_s: float
    host: str
    port: int
    api_key: str
    ui_port: int

    @property
    def gateway_url(self) -> str:
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104 - compared, not bound
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}"


def environment_and_file(env_file: Path | None = None) -> tuple[Mapping[str, str], Mapping[str, str]]:
    """The two sources of variables. Raises ConfigError where the file would open the gateway to the network.

    The working folder may hold somebody else's repository: its file may not choose an address beyond this machine.
    """
    path = env_file or Path(os.environ.get("LKN_ENV_FILE", ENV_FILE))
    file = read_env_file(path)
    host = file.get("LKN_HOST", "127.0.0.1")
    if host not in LOOPBACK and "LKN_HOST" not in os.environ:
        raise ConfigError(f"LKN_HOST={host} in {path} is not allowed there: set it in the environment or use --host")
    return {name: value for name, value in os.environ.items() if name != "LKN_ENV_FILE"}, file


def read_addresses(environment: Mapping[str, str], env_file: Mapping[str, str]) -> Addresses:
    return check(Addresses(**read_variables(ADDRESSES, environment, env_file)))


def check(addresses: Addresses) -> Addresses:
    """Beyond this machine a key is required. Raises ConfigError."""
    if addresses.host not in LOOPBACK and not addresses.api_key:
        raise ConfigError(f"LKN_HOST={addresses.host} is reachable by others: set LKN_API_KEY too, or use 127.0.0.1")
    return addresses
