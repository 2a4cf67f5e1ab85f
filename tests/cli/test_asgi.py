"""The server as an application for other programs: the same answers, and a key where others can reach it."""

from __future__ import annotations

import pytest
from starlette.testclient import TestClient

from vortex.cli.asgi import build_app
from vortex.errors import ConfigError

SCRIPTED = {"model.backend": "fake"}
QUESTION = {"messages": [{"role": "user", "content": "hello"}]}


@pytest.fixture(autouse=True)
def no_settings_of_mine(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.delenv("KLIMEAI_API_TOKEN", raising=False)


def test_it_answers_as_the_server_does() -> None:
    with TestClient(build_app(flags=SCRIPTED), base_url="http://127.0.0.1") as client:
        assert client.get("/readyz").status_code == 200
        model = client.get("/v1/models").json()["data"][0]["id"]
        answer = client.post("/v1/chat/completions", json={**QUESTION, "model": model})
        assert answer.json()["choices"][0]["message"]["content"]
        assert client.post("/v1/feedback", json={"id": "x", "rating": "up"}).status_code == 404  # replicas keep nothing


def test_beyond_this_machine_there_is_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="set KLIMEAI_API_TOKEN on every machine"):
        build_app(flags=SCRIPTED, host="0.0.0.0")
    monkeypatch.setenv("KLIMEAI_API_TOKEN", "a-key")
    with TestClient(build_app(flags=SCRIPTED, host="0.0.0.0"), base_url="http://127.0.0.1") as client:
        assert client.get("/v1/models").status_code == 401
        assert client.get("/v1/models", headers={"authorization": "Bearer a-key"}).status_code == 200
