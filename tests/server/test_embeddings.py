"""A model made for embeddings beside the chat model: named, it answers; else the chat model does."""

from __future__ import annotations

from collections.abc import Sequence

import httpx
import numpy as np
import pytest

from vortex.backends.fake import FakeBackend
from vortex.engine.with_embedder import WithEmbedder
from vortex.errors import ContextOverflow, UnknownModel
from vortex.types import ModelCard


class Counting:
    """Vectors of length 1 that tell how many letters a text has. Reads ten."""

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        if max(map(len, texts)) > 10:
            raise ContextOverflow("an input has too many letters", param="input")
        return [[1] * len(text) for text in texts]

    def embed(self, token_ids: Sequence[Sequence[int]]) -> np.ndarray:
        return np.eye(12, dtype=np.float32)[[len(ids) for ids in token_ids]]


def ask(client: httpx.Client, model: str | None, *texts: str) -> httpx.Response:
    return client.post("/v1/embeddings", json={"input": list(texts)} | ({"model": model} if model else {}))


def test_the_model_that_is_named_answers(serve) -> None:
    opened: list[int] = []

    def open_embedder() -> Counting:
        opened.append(1)
        return Counting()

    client = serve(WithEmbedder(FakeBackend(), ModelCard(name="letters"), open_embedder))
    assert [entry["id"] for entry in client.get("/v1/models").json()["data"]] == ["vortex-fake", "letters"]
    assert opened == []
    answer = ask(client, "letters", "a", "four").json()
    assert [np.argmax(row["embedding"]) for row in answer["data"]] == [1, 4]
    assert (answer["model"], answer["usage"]["prompt_tokens"]) == ("letters", 5)
    chat = ask(client, None, "a").json()
    assert (chat["model"], len(chat["data"][0]["embedding"]) != 12) == ("vortex-fake", True)
    assert ask(client, "vortex-fake", "a").json()["data"] == chat["data"]
    for texts, param in ((["far too many letters"], "input"), ([], "input"), ([""], "input")):
        refused = ask(client, "letters", *texts)
        assert (refused.status_code, refused.json()["error"]["param"]) == (400, param)
    assert ask(client, "nobody", "a").status_code == 404
    assert opened == [1]
    assert client.post("/v1/chat/completions", json={"messages": [{"role": "user", "content": "hi"}]}).is_success


def test_a_model_that_is_not_here_says_how_to_get_it(serve) -> None:
    def missing() -> Counting:
        raise UnknownModel("letters is not on the server's machine; fetch it there with: vortex pull letters")

    client = serve(WithEmbedder(FakeBackend(), ModelCard(name="letters"), missing, lambda: False))
    assert [entry["id"] for entry in client.get("/v1/models").json()["data"]] == ["vortex-fake"]
    refused = ask(client, "letters", "a")
    assert (refused.status_code, "vortex pull letters" in refused.json()["error"]["message"]) == (404, True)


@pytest.mark.long
def test_minilm_answers_beside_the_default_engine(serve) -> None:
    from vortex.cli.embedder import with_embedder
    from vortex.hub.names import resolve

    resolve("all-minilm-l6-v2")
    client = serve(with_embedder(FakeBackend()))
    rows = ask(client, "all-minilm-l6-v2", "a cat", "a kitten", "tax law").json()["data"]
    vectors = np.array([row["embedding"] for row in rows])
    assert vectors.shape == (3, 384)
    assert vectors[0] @ vectors[1] > 2 * abs(vectors[0] @ vectors[2])
