"""Adapters over the wire: what is listed, what a request gets that names one, what is noted."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from tests.adapters.random_adapters import write_random
from tests.models.tiny_models import write_safetensors
from vortex.adapters.bank import AdapterBank
from vortex.adapters.current import Current, Promoted
from vortex.adapters.reading import ModelTargets, read_adapter
from vortex.adapters.shelf import AdapterShelf
from vortex.adapters.store import AdapterStore
from vortex.engine.backend import LocalBackend
from vortex.models.decoder.adapter_parts import adapter_targets
from vortex.models.decoder.model import Decoder
from vortex.models.decoder.reference_compute import ReferenceCompute
from vortex.models.files.safetensors import SafetensorsCheckpoint
from vortex.server.options import ServerOptions
from vortex.tokenizer.byte_tokenizer import ByteChatFormat, ByteTokenizer
from vortex.types import ModelCard

ASKED = {"prompt": list(range(3, 12)), "max_tokens": 6, "temperature": 0, "logprobs": 1}


@pytest.fixture
def shelf(tmp_path: Path) -> AdapterShelf:
    checkpoint = SafetensorsCheckpoint(write_safetensors(tmp_path / "tiny", "qwen2"))
    targets = ModelTargets("tiny", adapter_targets(checkpoint.config))
    store = AdapterStore(tmp_path / "adapters")
    for seed, name in enumerate(("one", "two")):
        store.add(write_random(tmp_path / name, targets.layers, seed=seed), name, targets)
    bank = AdapterBank(lambda folder, limit_bytes: read_adapter(folder, targets, limit_bytes), 10**8)
    return AdapterShelf(model="tiny", bank=bank, store=store, current=Current(tmp_path / "current", "tiny"))


@pytest.fixture
def client(serve: Callable[..., httpx.Client], shelf: AdapterShelf, tmp_path: Path) -> httpx.Client:
    checkpoint = SafetensorsCheckpoint(tmp_path / "tiny")
    model = Decoder(checkpoint.config, ReferenceCompute(checkpoint))
    backend = LocalBackend(model, ByteTokenizer(), ByteChatFormat(), ModelCard(name="tiny"), adapters=shelf)
    return serve(backend, ServerOptions(episodes_dir=tmp_path / "episodes"))


def ask(client: httpx.Client, model: str | None) -> dict[str, object]:
    answer = client.post("/v1/completions", json=ASKED | ({"model": model} if model else {}))
    assert answer.status_code == 200, answer.text
    found: dict[str, object] = answer.json()
    return found


def tokens(answer: dict[str, object]) -> str:
    return json.dumps(answer["choices"])


def test_a_request_names_an_adapter(client: httpx.Client, shelf: AdapterShelf) -> None:
    cards = {card["id"]: card["parent"] for card in client.get("/v1/models").json()["data"]}
    assert cards == {"tiny": None, "tiny:current": "tiny", "one": "tiny", "two": "tiny"}
    assert client.get("/v1/models/tiny:current").json()["parent"] == "tiny"
    answers = {name: ask(client, name) for name in ("tiny", "tiny:current", "one", "two", None)}
    assert len({tokens(answer) for answer in answers.values()}) == 3
    assert tokens(answers["tiny"]) == tokens(answers["tiny:current"]) == tokens(answers[None])
    assert answers["one"]["model"] == "one"
    assert len({str(answer["system_fingerprint"]) for answer in answers.values()}) == 4, "None is the model itself"
    refused = client.post("/v1/completions", json={**ASKED, "model": "three"})
    assert (refused.status_code, refused.json()["error"]["code"]) == (404, "model_not_found")

    record = shelf.store.find("two") if shelf.store else None
    assert record is not None
    assert shelf.current is not None
    shelf.current.set(Promoted(record.folder, record.hash, "run"))
    promoted = ask(client, "tiny:current")
    assert tokens(promoted) == tokens(answers["two"]) == tokens(ask(client, None))
    assert tokens(ask(client, "tiny")) == tokens(answers["tiny"])
    assert promoted["system_fingerprint"] != answers["tiny:current"]["system_fingerprint"]
    assert "vortex_adapter_loads" in client.get("/metrics").text


def test_an_added_one_is_there_at_once_and_a_removed_one_is_gone(client: httpx.Client, shelf: AdapterShelf) -> None:
    assert shelf.store is not None
    before = tokens(ask(client, "one"))
    shelf.store.remove("one")
    assert client.post("/v1/completions", json={**ASKED, "model": "one"}).status_code == 404
    assert "one" not in {card["id"] for card in client.get("/v1/models").json()["data"]}
    assert before


def test_an_edited_one_is_refused(client: httpx.Client, shelf: AdapterShelf, tmp_path: Path) -> None:
    assert shelf.store is not None
    record = shelf.store.find("one")
    assert record is not None
    name = "adapter_model.safetensors"
    (record.folder / name).write_bytes((tmp_path / "two" / name).read_bytes())
    answer = client.post("/v1/completions", json={**ASKED, "model": "one"})
    assert answer.status_code == 500
    message = answer.json()["error"]["message"]
    assert "the adapter 'one' was changed since" in message
    assert str(tmp_path) not in message
    assert tokens(ask(client, "tiny"))


def test_the_episode_says_which_adapter() -> None:
    from vortex.server.answer import Gathered, GatheredChoice
    from vortex.server.episode_log import _episode
    from vortex.types import ChatRequest, Started

    started = Started(request_id="r", model="one", seed=1, adapter="sha256:1")
    episode = _episode(ChatRequest(request_id="r"), [], Gathered(started, [GatheredChoice()]), ())
    assert (episode.model, episode.adapter) == ("one", "sha256:1")
