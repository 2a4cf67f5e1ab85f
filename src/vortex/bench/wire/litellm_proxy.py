"""LiteLLM's proxy as a peer of the gateway, run from an interpreter where it is installed."""

from __future__ import annotations

import http.client
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from vortex.bench.programs import Program, spawned
from vortex.errors import BackendError, MissingCapability

READY_S = 300.0
VARIABLES = {
    "LITELLM_LOG": "ERROR",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true",  # its fastest form: no keys
}
CONFIG = """\
model_list:
  - model_name: fake-model
    litellm_params:
      model: openai/fake-model
      api_base: {engine}/v1
      api_key: none
litellm_settings:
  telemetry: false
  num_retries: 0
"""


@contextmanager
def litellm_proxy(python: str, engine_url: str, folder: Path) -> Iterator[Program]:
    """One quiet worker before the engine. Raises MissingCapability without it, BackendError if it stays silent."""
    binary = Path(python).with_name("litellm")
    if not binary.exists():
        raise MissingCapability(f"no LiteLLM beside {python}: pip install 'litellm[proxy]' there")
    config = folder / "litellm.yaml"
    config.write_text(CONFIG.format(engine=engine_url))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(binary), "--config", str(config), "--host", "127.0.0.1", "--port", str(port), "--num_workers", "1"]
    with spawned(command, VARIABLES) as process:
        url = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + READY_S
        while not _alive(url):
            if time.monotonic() > deadline or process.poll() is not None:
                raise BackendError("LiteLLM's proxy did not start")
            time.sleep(0.5)
        yield Program(process, url)


def _alive(url: str) -> bool:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=2)
    try:
        connection.request("GET", "/health/liveliness")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()
