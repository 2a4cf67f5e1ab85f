"""Tokens counted and spelled, documents ranked."""

from __future__ import annotations

import httpx


def test_a_text_goes_to_tokens_and_back(plain: httpx.Client) -> None:
    found = plain.post("/tokenize", json={"content": "one two three"}).json()
    assert (found["count"], found["max_model_len"]) == (3, 8192)
    assert plain.post("/detokenize", json={"tokens": found["tokens"]}).json()["content"] == "one two three"
    chat = plain.post("/tokenize", json={"messages": [{"role": "user", "content": "one"}]}).json()
    assert chat["count"] > 1


def test_documents_are_ranked_by_the_query(plain: httpx.Client) -> None:
    documents = ["the moon", {"text": "the capital of France"}, "bread"]
    body = {"query": "capital of France", "documents": documents, "top_n": 2, "return_documents": True}
    ranked = plain.post("/v1/rerank", json=body).json()["results"]
    assert (ranked[0]["index"], ranked[0]["document"]["text"]) == (1, "the capital of France")
    assert len(ranked) == 2
    assert ranked[0]["relevance_score"] > ranked[1]["relevance_score"]


def test_what_is_wrong_is_named(plain: httpx.Client) -> None:
    wrong = [
        ("/tokenize", {}, "content"),
        ("/detokenize", {"tokens": [-1]}, "tokens[0]"),
        ("/v1/rerank", {"query": "x", "documents": []}, "documents"),
        ("/v1/rerank", {"query": "x", "documents": [{}]}, "documents[0]"),
    ]
    for path, body, param in wrong:
        refused = plain.post(path, json=body)
        assert (refused.status_code, refused.json()["error"]["param"]) == (400, param)


def test_a_model_tells_its_context_and_abilities(plain: httpx.Client) -> None:
    card = plain.get("/v1/models/vortex-fake").json()
    assert (card["context_length"], card["abilities"]) == (8192, ["completion", "tools", "thinking", "embedding"])
