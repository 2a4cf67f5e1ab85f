"""Only those who may call do: keys, hosts that were rebound, pages of other origins."""

from __future__ import annotations

import stat
from pathlib import Path

import httpx
import pytest

from vortex.errors import ConfigError
from vortex.server.keys import key_for, read_key_file
from vortex.server.options import ServerOptions


def test_a_key_is_asked_for_everywhere_but_at_health_checks(serve) -> None:
    client = serve(options=ServerOptions(api_key="dev token é"))
    assert client.get("/healthz").status_code == client.get("/readyz").status_code == 200
    for sent in (None, "Bearer wrong", "Basic dev token", "Bearer"):
        response = client.get("/v1/models", headers={"authorization": sent} if sent else {})
        assert (response.status_code, response.headers["www-authenticate"]) == (401, "Bearer")
        assert response.json()["error"]["code"] == "invalid_api_key"
    assert client.get("/docs").status_code == 401
    key = "Bearer dev token é".encode()
    assert client.get("/v1/models", headers={b"authorization": key}).status_code == 200


def test_a_rebound_host_is_refused(serve) -> None:
    client = serve(options=ServerOptions(allowed_hosts=("nice.example",)))
    ours = ["localhost:80", "127.0.0.1", "[::1]:8000", "10.1.2.3:8000", "a.localhost", "nice.example:9"]
    others = [
        "evil.example",
        "evil.example:8000",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "",
        "nice.example.x",
    ]
    assert {host: client.get("/healthz", headers={"host": host}).status_code for host in ours + others} == {
        **dict.fromkeys(ours, 200),
        **dict.fromkeys(others, 403),
    }


def test_pages_of_other_origins_are_refused(plain: httpx.Client) -> None:
    own = str(plain.base_url).rstrip("/")
    assert plain.get("/v1/models", headers={"origin": own}).status_code == 200
    for headers in ({"origin": "https://evil.example"}, {"origin": "null"}, {"sec-fetch-site": "cross-site"}):
        response = plain.get("/v1/models", headers=headers)
        assert response.status_code == 403
        assert "access-control-allow-origin" not in response.headers


def test_an_allowed_origin_gets_cors(serve) -> None:
    client = serve(options=ServerOptions(allowed_origins=("https://app.example",)))
    headers = {"origin": "https://app.example", "access-control-request-method": "POST"}
    assert client.options("/v1/chat/completions", headers=headers).status_code == 200
    allowed = client.get("/v1/models", headers={"origin": "https://app.example", "sec-fetch-site": "cross-site"})
    assert (allowed.status_code, allowed.headers["access-control-allow-origin"]) == (200, "https://app.example")


def test_a_key_is_drawn_once_for_others_and_never_on_loopback(tmp_path: Path) -> None:
    file = tmp_path / "sub" / "server.key"
    assert key_for("127.0.0.1", None, file, insecure=False).value is None
    assert key_for("::1", None, file, insecure=False).value is None
    assert key_for("0.0.0.0", None, file, insecure=True).value is None
    assert not file.exists()
    drawn = key_for("0.0.0.0", None, file, insecure=False)
    assert drawn.drawn_to == file
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    again = key_for("0.0.0.0", None, file, insecure=False)
    assert (again.value, again.drawn_to) == (drawn.value, None)
    assert key_for("0.0.0.0", "given", file, insecure=False).value == "given"
    file.chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        read_key_file(file)
