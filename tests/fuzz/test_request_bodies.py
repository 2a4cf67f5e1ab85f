"""Bodies of every endpoint, changed at random: 2xx or 4xx in OpenAI's shape, and the next request is served."""

from __future__ import annotations

import json
import random
from typing import Any

import httpx
import pytest

from tests.fuzz.cases import mutated, rounds, within
from tests.server.conftest import running

SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}, "b": {"$ref": "#/$defs/b"}}, "required": ["a"]}
FUNCTION = {"name": "look", "description": "d", "parameters": SCHEMA, "strict": False}
CALL = {"id": "call_1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
BODIES: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {
        "model": None,
        "messages": [
            {"role": "system", "content": "s"},
            {"role": "user", "content": [{"type": "text", "text": "t"}]},
            {"role": "assistant", "content": None, "tool_calls": [CALL]},
            {"role": "tool", "tool_call_id": "call_1", "content": "r"},
        ],
        "temperature": 0.5, "top_p": 0.9, "n": 1, "max_tokens": 3, "stop": ["x"], "seed": 1, "logit_bias": {"1": 1},
        "logprobs": True, "top_logprobs": 2, "tools": [{"type": "function", "function": FUNCTION}],
        "tool_choice": "auto",
        "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA}},
        "chat_template_kwargs": {"enable_thinking": False}, "stream_options": {"include_usage": True},
    },
    "/v1/completions": {"prompt": ["a", "b"], "max_tokens": 2, "logprobs": 1, "echo": True, "suffix": None, "n": 1},
    "/v1/responses": {
        "input": [{"role": "user", "content": [{"type": "input_text", "text": "t"}]},
                  {"type": "function_call", "call_id": "c", "name": "look", "arguments": "{}"},
                  {"type": "function_call_output", "call_id": "c", "output": "o"}],
        "instructions": "i", "tools": [{"type": "function", **FUNCTION}], "max_output_tokens": 3,
        "text": {"format": {"type": "json_schema", "name": "n", "schema": SCHEMA}},
    },
    "/v1/embeddings": {"input": ["a", "b"], "dimensions": 2, "encoding_format": "float"},
}  # fmt: skip


def check(client: httpx.Client, seed: int) -> None:
    draw = random.Random(seed)  # cases, not secrets
    path = draw.choice(list(BODIES))
    body = json.dumps(mutated(BODIES[path], draw)).encode()
    if draw.random() < 0.2:  # broken bytes too
        at = draw.randrange(len(body))
        body = body[:at] + draw.choice((b"", b"\xff", b"\x00", b'"', b"[" * 2000)) + body[at:]
    with within(20, seed):
        response = client.post(path, content=body, headers={"Content-Type": "application/json"})
        assert response.status_code < 500, response.text[:300]
        if response.status_code >= 400:
            assert set(response.json()["error"]) == {"message", "type", "param", "code"}


def test_no_body_is_a_server_error() -> None:
    with running() as address, httpx.Client(base_url=address, trust_env=False, timeout=30) as client:
        for seed in rounds(250):
            check(client, seed)
        assert client.get("/healthz").status_code == 200


@pytest.mark.long
def test_no_body_is_a_server_error_for_longer() -> None:
    with running() as address, httpx.Client(base_url=address, trust_env=False, timeout=30) as client:
        for seed in rounds(6000):
            check(client, seed)
