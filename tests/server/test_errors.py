"""Whatever a client sends, it gets a 4xx in OpenAI's shape; the server never dies of it."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vortex.backends.fake import FakeBackend, Fault, FaultKind

HELLO = [{"role": "user", "content": "hello"}]
CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}


def refused(response: httpx.Response, status: int = 400) -> dict[str, Any]:
    assert response.status_code == status, response.text
    body = response.json()
    assert list(body) == ["error"]
    assert set(body["error"]) == {"message", "type", "param", "code"}
    assert body["error"]["message"]
    return body["error"]


def deep(levels: int) -> Any:
    value: Any = {}
    for _ in range(levels):
        value = {"properties": {"a": value}}
    return value


def json_schema(schema: Any) -> dict[str, Any]:
    return {"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}}}


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"messages": []}, "messages"),
        ({"messages": None}, "messages"),
        ({"messages": [{"role": "judge", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": 7}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages[0].content[0].type"),
        ({"messages": [{"role": "tool", "tool_call_id": "x", "content": "?"}]}, "messages[0].tool_call_id"),
        ({"messages": [{"role": "assistant", "tool_calls": [CALL]}, *HELLO]}, "messages[1]"),
        ({"messages": [*HELLO, {"role": "assistant", "tool_calls": [CALL]}]}, "messages"),
        ({"temperature": 9}, "temperature"),
        ({"temperature": "0.5"}, "temperature"),
        ({"temperature": True}, "temperature"),
        ({"top_p": 0}, "top_p"),
        ({"n": 0}, "n"),
        ({"n": 10_000}, "n"),
        ({"max_tokens": -2}, "max_tokens"),
        ({"max_tokens": 10**30}, "max_tokens"),
        ({"stop": ""}, "stop"),
        ({"seed": 2**70}, "seed"),
        ({"logit_bias": {"word": 1}}, "logit_bias"),
        ({"logit_bias": {"1": 400}}, "logit_bias"),
        ({"top_logprobs": 5}, "top_logprobs"),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
        ({"response_format": {"type": "yaml"}}, "response_format.type"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
        (json_schema(deep(40)), "response_format.json_schema.schema"),
        (json_schema({"enum": ["x" * 200_000]}), "response_format.json_schema.schema"),
        ({"tools": [TOOL, TOOL]}, "tools"),
        ({"tools": [{"type": "function", "function": {"name": "no spaces"}}]}, "tools[0].function.name"),
        ({"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "g"}}}, "tool_choice"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"functions": [{"name": "f"}]}, "functions"),
    ],
)  # fmt: skip
def test_a_wrong_field_is_named(plain: httpx.Client, fields: dict, param: str) -> None:
    error = refused(plain.post("/v1/chat/completions", json={"messages": HELLO, **fields}))
    assert error["param"] == param
    assert error["type"] == "invalid_request_error"


BROKEN = [
    b"",
    b"{",
    b"[]",
    b"null",
    b'{"messages": "\xff\xfe"}',
    b"[" * 100_000,
    b'{"a":' * 5000 + b"1" + b"}" * 5000,
    b'{"messages":[{"role":"user","content":"\\ud800"}]}',
    b'{"temperature": NaN}',
    b'{"seed": ' + b"9" * 10_000 + b"}",
]


@pytest.mark.parametrize("content", BROKEN, ids=range(len(BROKEN)))
def test_broken_bodies_are_refused(plain: httpx.Client, content: bytes) -> None:
    headers = {"content-type": "application/json"}
    for path in ("/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/embeddings"):
        refused(plain.post(path, content=content, headers=headers))


def test_paths_methods_and_types_are_refused_in_the_same_shape(plain: httpx.Client) -> None:
    refused(plain.get("/v1/nothing"), 404)
    refused(plain.get("/v1/models/none"), 404)
    unknown = plain.post("/v1/chat/completions", json={"model": "no", "messages": HELLO})
    assert refused(unknown, 404)["code"] == "model_not_found"
    wrong_method = plain.get("/v1/chat/completions")
    refused(wrong_method, 405)
    assert wrong_method.headers["allow"] == "POST"
    refused(plain.post("/v1/chat/completions", content=b"a=b", headers={"content-type": "text/plain"}), 415)


def test_large_bodies_stop_at_the_limit(plain: httpx.Client) -> None:
    refused(plain.post("/v1/completions", content=b'{"prompt":"' + b"x" * 10_000_000 + b'"}'), 413)
    pieces = (b"x" * 100_000 for _ in range(100))  # without a length announced
    refused(plain.post("/v1/completions", content=pieces, headers={"content-type": "application/json"}), 413)
    error = refused(plain.post("/v1/completions", json={"prompt": "x " * 200_000}))
    assert error["code"] == "context_length_exceeded"
    assert "8192" in error["message"]


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
CHAT_FIELDS = [
    "model",
    "messages",
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "n",
    "stop",
    "seed",
    "max_tokens",
    "max_completion_tokens",
    "logit_bias",
    "logprobs",
    "top_logprobs",
    "stream_options",
    "response_format",
    "tools",
    "tool_choice",
    "reasoning_effort",
    "chat_template_kwargs",
    "user",
    "metadata",
]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(fields=st.dictionaries(st.sampled_from(CHAT_FIELDS), ANYTHING, min_size=1, max_size=3))
def test_any_value_in_any_field_is_answered_or_refused(plain: httpx.Client, fields: dict) -> None:
    content = json.dumps({"messages": HELLO, "max_tokens": 4, **fields})
    response = plain.post("/v1/chat/completions", content=content, headers={"content-type": "application/json"})
    if response.status_code != 200:
        refused(response, response.status_code)
        assert response.status_code in (400, 404)


def test_engine_failures_have_their_own_statuses(serve) -> None:
    kinds = [FaultKind.OVERLOADED, FaultKind.REFUSED, FaultKind.BROKEN, FaultKind.CRASHED]
    client = serve(FakeBackend(faults=[Fault(kind=kind) for kind in kinds]))
    answers = [client.post("/v1/chat/completions", json={"messages": HELLO}) for _ in kinds]
    assert [answer.status_code for answer in answers] == [429, 400, 502, 500]
    assert answers[0].headers["retry-after"] == "1"
    for answer in answers:
        refused(answer, answer.status_code)
    assert "crash" not in answers[3].text  # what went wrong inside stays inside
    assert client.post("/v1/chat/completions", json={"messages": HELLO}).status_code == 200
