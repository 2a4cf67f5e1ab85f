"""A server of several models on the wire, and the two commands that look at it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.engine.test_several import House
from tests.server.conftest import running
from vortex.cli.app import main
from vortex.server.options import ServerOptions
from vortex.types import SamplingOptions

HOT = ServerOptions(sampling_of=lambda name: SamplingOptions(temperature=1.5) if name == "third" else None)


@pytest.fixture(scope="module")
def house() -> House:
    return House()


@pytest.fixture(scope="module")
def address(house: House) -> Iterator[str]:
    with running(house.models, HOT, places=house.models) as address:
        yield address


@pytest.fixture
def client(address: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=address, trust_env=False, timeout=20) as client:
        yield client


def ask(client: httpx.Client, model: str) -> httpx.Response:
    return client.post("/v1/chat/completions", json={"model": model, "messages": [{"role": "user", "content": "hi"}]})


def rows(client: httpx.Client) -> dict[str, dict[str, Any]]:
    return {row["id"]: row for row in client.get("/v1/models").json()["data"]}


def test_models_have_states_and_the_request_chooses(client: httpx.Client, house: House) -> None:
    assert rows(client)["third"]["state"] == "available"
    assert ask(client, "third").json()["model"] == "third"
    listed = rows(client)
    assert (listed["first"]["state"], listed["third"]["state"], listed["third"]["size_bytes"]) == ("open", "open", 30)
    assert listed["third"]["idle_s"] >= 0
    assert "vortex_models_open 2.0" in client.get("/metrics").text


def test_each_model_samples_in_its_own_way(client: httpx.Client, house: House) -> None:
    ask(client, "third")
    ask(client, "first")
    temperatures = {backend.name: backend.requests[-1].sampling.temperature for backend in house.opened}
    assert (temperatures["third"], temperatures["first"]) == (1.5, 0.0)


def test_what_goes_wrong_is_one_error_each(client: httpx.Client) -> None:
    missing = ask(client, "../secrets.gguf")
    assert (missing.status_code, missing.json()["error"]["code"]) == (404, "model_not_found")
    assert "never by a path" in missing.json()["error"]["message"]
    broken = ask(client, "broken")
    assert (broken.status_code, broken.json()["error"]["type"]) == (502, "server_error")
    assert ask(client, "first").status_code == 200
    assert rows(client)["broken"]["error"] == "broken is truncated; download it again"
    large = ask(client, "huge")
    assert (large.status_code, large.json()["error"]["code"]) == (400, "model_too_large")


def test_ps_and_stop(
    address: str, client: httpx.Client, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def vortex(*arguments: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["vortex", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        streams = capsys.readouterr()
        return int(ended.value.code or 0), streams.out + streams.err

    ask(client, "third")
    assert "third" in vortex("ps", "--url", address)[1]
    assert vortex("stop", "third", "--url", f"{address}/v1") == (
        0,
        "third is closed; the next request for it opens it again\n",
    )
    assert "third" not in vortex("ps", "--url", address)[1]
    assert "available" in vortex("ps", "--all", "--url", address)[1]
    assert vortex("stop", "third", "--url", address) == (
        1,
        "error: the model 'third' is not open; GET /v1/models lists what is\n",
    )
    code, said = vortex("ps", "--url", "http://127.0.0.1:9")
    assert (code, said.startswith("error: no Vortex server answers at http://127.0.0.1:9")) == (1, True)


def test_a_server_of_one_model_has_no_such_path(plain: httpx.Client) -> None:
    assert plain.post("/v1/models/unload", json={"model": "vortex-fake"}).status_code in {404, 405}
    assert "state" not in plain.get("/v1/models").json()["data"][0]
