"""Streams end well on every path, and a client that goes takes its generation with it."""

from __future__ import annotations

import json
import threading
import time
from contextlib import suppress

import httpx
import pytest

from vortex.backends.fake import FakeBackend, Fault, FaultKind, Pace
from vortex.server.options import Limits, ServerOptions

CHAT = "/v1/chat/completions"
HELLO = {"messages": [{"role": "user", "content": "hello " * 50}]}


def data_of(text: str) -> list[str]:
    return [line.removeprefix("data: ") for line in text.splitlines() if line.startswith("data: ")]


def eventually(condition, timeout_s: float = 5.0) -> None:
    until_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < until_s, "it did not come true"
        time.sleep(0.01)


def test_a_stream_opens_with_a_role_and_ends_with_done(plain: httpx.Client) -> None:
    response = plain.post(CHAT, json={**HELLO, "stream": True, "stream_options": {"include_usage": True}})
    assert response.headers["content-type"].startswith("text/event-stream")
    *chunks, done = data_of(response.text)
    chunks = [json.loads(chunk) for chunk in chunks]
    assert done == "[DONE]"
    assert chunks[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"]["completion_tokens"] > 3
    assert all(chunk["usage"] is None for chunk in chunks[:-1])
    assert {chunk["id"] for chunk in chunks} == {response.headers["x-request-id"]}


@pytest.mark.parametrize("kind", [FaultKind.BROKEN, FaultKind.CRASHED])
@pytest.mark.parametrize("path", [CHAT, "/v1/responses"])
def test_a_failure_after_the_first_byte_is_a_frame(serve, kind: FaultKind, path: str) -> None:
    client = serve(FakeBackend(faults=[Fault(kind=kind, after_tokens=2)]))
    body = {"input": "hello"} if path == "/v1/responses" else HELLO
    response = client.post(path, json={**body, "stream": True})
    assert response.status_code == 200
    assert set(json.loads(data_of(response.text)[-1])["error"]) == {"message", "type", "param", "code"}


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("path", [CHAT, "/v1/completions", "/v1/responses"])
def test_a_client_that_goes_cancels_its_generation(serve, stream: bool, path: str) -> None:
    backend = FakeBackend(pace=Pace(first_ms=50, token_ms=50))
    client = serve(backend)
    asked = {
        CHAT: HELLO,
        "/v1/completions": {"prompt": "hello " * 50, "max_tokens": 500},
        "/v1/responses": {"input": "hello " * 50},
    }
    body = {**asked[path], "stream": stream}
    with suppress(httpx.ReadTimeout), client.stream("POST", path, json=body, timeout=0.2) as response:
        for _ in response.iter_lines():
            break
    eventually(lambda: backend.cancelled == 1)
    assert client.get("/readyz").json()["active"] == 0
    assert "vortex_active_answers 0.0" in client.get("/metrics").text


def test_beyond_the_limit_of_requests_comes_429(serve) -> None:
    backend = FakeBackend(faults=[Fault(kind=FaultKind.STALLED)])
    client = serve(backend, ServerOptions(limits=Limits(concurrent_requests=1)))
    with httpx.stream("POST", f"{client.base_url}{CHAT}", json={**HELLO, "stream": True}, trust_env=False):
        refused = client.post(CHAT, json=HELLO)
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
    eventually(lambda: client.post(CHAT, json=HELLO).status_code == 200)


def test_several_prompts_stream_as_numbered_choices(plain: httpx.Client) -> None:
    body = {"prompt": ["one", "two"], "n": 2, "max_tokens": 3, "seed": 1, "temperature": 0.5}
    whole = plain.post("/v1/completions", json=body).json()
    chunks = data_of(plain.post("/v1/completions", json={**body, "stream": True}).text)[:-1]
    texts = dict.fromkeys(range(4), "")
    for chunk in map(json.loads, chunks):
        texts[chunk["choices"][0]["index"]] += chunk["choices"][0]["text"]
    assert [choice["text"] for choice in whole["choices"]] == list(texts.values())


def test_a_server_that_ends_lets_answers_finish(running_server) -> None:
    backend = FakeBackend(pace=Pace(token_ms=10))
    texts: list[str] = []

    def listen(address: str) -> None:
        texts.append(httpx.post(f"{address}{CHAT}", json={**HELLO, "stream": True}, trust_env=False).text)

    with running_server(backend) as address:
        listener = threading.Thread(target=listen, args=(address,))
        listener.start()
        eventually(lambda: len(backend.requests) == 1)
    listener.join()
    assert data_of(texts[0])[-1] == "[DONE]"
    assert (backend.completed, backend.cancelled) == (1, 0)
