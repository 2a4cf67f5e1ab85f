"""What is copied to other places by hand: the systemd units and the compose file say what the programs understand."""

from __future__ import annotations

import configparser
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from vortex.config.addresses import read_addresses
from vortex.gateway.settings import read_settings

ROOT = Path(__file__).parent.parent.parent
UNITS = ("vortex-engine", "vortex-gateway")
PREFIX = "/opt/vortex/.venv/bin/"


def unit(name: str) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(ROOT / "deploy" / f"{name}.service")
    return parser


@pytest.mark.parametrize("name", UNITS)
def test_a_unit_starts_what_the_stack_starts_and_is_ended_as_a_whole(name: str) -> None:
    service = unit(name)["Service"]
    words = service["ExecStart"].removeprefix(PREFIX).split()
    commands = {
        "vortex-engine": ["vortex", "serve", "--host", "127.0.0.1", "--port", "30000"],
        "vortex-gateway": ["python", "-m", "vortex.gateway"],
    }
    assert words == commands[name]
    assert service["RestartPreventExitStatus"] == "2", "a wrong setting is not mended by starting again"
    assert service["EnvironmentFile"] == "-/opt/vortex/config/.env"
    assert service["ProtectSystem"] == "strict"


def test_the_gateway_s_unit_writes_where_it_may() -> None:
    service = unit("vortex-gateway")["Service"]
    name, _, value = service["Environment"].partition("=")
    assert value.startswith(f"/var/lib/{service['StateDirectory']}/")
    assert read_settings({name: value}, {}).ledger.ledger_path == value


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_systemd_understands_the_units(tmp_path: Path) -> None:
    here = Path(sys.executable).parent
    for name in UNITS:
        text = (ROOT / "deploy" / f"{name}.service").read_text().replace(PREFIX, f"{here}/")
        (tmp_path / f"{name}.service").write_text(text.replace("User=vortex", "User=root"))
    units = [str(tmp_path / f"{name}.service") for name in UNITS]
    result = subprocess.run(["systemd-analyze", "verify", *units], check=False, capture_output=True, text=True)
    assert (result.returncode, result.stderr) == (0, "")


def test_the_compose_file_reaches_a_gateway_on_127_0_0_1() -> None:
    service = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]["open-webui"]
    addresses = read_addresses({}, {})
    assert service["network_mode"] == "host", "a gateway on 127.0.0.1 is out of a bridge network's reach"
    environment = service["environment"]
    assert environment["HOST"] == "127.0.0.1"
    assert environment["PORT"] == f"${{UI_PORT:-{addresses.ui_port}}}"
    assert environment["OPENAI_API_BASE_URL"] == f"${{GATEWAY_URL:-{addresses.gateway_url}}}/v1"
    assert "ports" not in service, "host networking publishes nothing"
