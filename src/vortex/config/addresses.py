"""Who listens where: the variables of the engine, the gateway and the user interface that several parts read.

The gateway and the scripts that bring the stack up must agree on these, so they are said once.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from vortex.config.trust import is_trusted
from vortex.config.variables import (
    LOOPBACK,
    Variable,
    choice,
    number,
    read_env_file,
    read_variables,
    secret,
    text,
    urls,
    variables_of,
    whole,
    withheld,
)
from vortex.errors import ConfigError

ENV_FILE = Path("config/.env")
ENGINE_KINDS = ("vortex", "sglang", "vllm", "llama-server", "external")


@dataclass(frozen=True, slots=True, kw_only=True)
class Addresses:
    engine_urls: tuple[str, ...] = urls(
        "ENGINE_BASE_URL", ("http://127.0.0.1:30000",), "Engines, without /v1; several with commas"
    )
    engine_kind: str = choice("ENGINE_KIND", ENGINE_KINDS, "What `vortex up` starts")
    engine_model: str = text("ENGINE_MODEL", "", "Model the engine loads; empty: the default of its kind")
    engine_mem_fraction: float = number(
        "ENGINE_MEM_FRACTION", 0.85, (0.05, 1.0), "Share of GPU memory for sglang and vllm"
    )
    engine_api_key: str = secret("ENGINE_API_KEY", "Key the gateway shows to the engine")
    engine_start_timeout_s: float = number("ENGINE_START_TIMEOUT_S", 900, (1, 86400), "Longest start of an engine")
    host: str = text("LKN_HOST", "127.0.0.1", "Address the gateway listens on")
    port: int = whole("LKN_PORT", 8000, (0, 65535), "Port the gateway listens on")
    api_key: str = secret("LKN_API_KEY", "Key that clients must show; needed beyond this machine")
    ui_port: int = whole("UI_PORT", 3000, (1, 65535), "Port of Open WebUI")

    @property
    def gateway_url(self) -> str:
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104 - compared, not bound
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}"


ADDRESSES = variables_of(Addresses)
_log = logging.getLogger("vortex.config.addresses")


def not_read(path: Path, names: Sequence[str]) -> str:
    return (
        f"{', '.join(names)} in {path} {'is' if len(names) == 1 else 'are'} not read: the file may be a stranger's; "
        f"if it is yours: vortex config trust {path}"
    )


def env_file_path() -> Path:
    """`config/.env` of the working folder, or the file that LKN_ENV_FILE names."""
    return Path(os.environ.get("LKN_ENV_FILE", ENV_FILE))


def environment_and_file(
    further: Iterable[Variable] = (), env_file: Path | None = None
) -> tuple[Mapping[str, str], Mapping[str, str]]:
    """The two sources of variables. Raises ConfigError where the file would open the gateway to the network.

    The working folder may hold somebody else's repository: its file may not choose an address beyond this machine, and
    what only the user's own places may set is left out, with a word, unless the user trusts the file (trust.py) or
    named it. further: variables beyond the addresses.
    """
    path = env_file or env_file_path()
    file = read_env_file(path)
    is_named = "LKN_ENV_FILE" in os.environ
    if (left_out := withheld((*ADDRESSES, *further), file)) and not is_named and not is_trusted(path):
        _log.warning("note: %s", not_read(path, left_out))
        file = {name: value for name, value in file.items() if name not in left_out}
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
