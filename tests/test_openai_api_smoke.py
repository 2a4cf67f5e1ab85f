"""The server as users start it, a process of its own, and the client that users have: openai-python.

Quick: behind the wire is the real engine with a model without weights, so everything but the words is real.
Long: the default model, and the words too.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import openai
import pytest
from openai import OpenAI
from pydantic import BaseModel

from vortex.server.smoke import Walk

CAPITAL = [{"role": "user", "content": "What is the capital of France? Answer with one word."}]
CITY = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "unit": {"enum": ["c", "f"]}},
    "required": ["city", "unit"],
}
TOOL = {"type": "function", "function": {"name": "get_weather", "parameters": CITY}}


class Person(BaseModel):
    name: str
    age: int


@contextmanager
def serving(*flags: str, data: Path, **environment: str) -> Iterator[str]:
    command = [sys.executable, "-m", "vortex", "serve", "--port", "0", *flags]
    environment = {**os.environ, "VORTEX_DATA": str(data), **environment}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        try:
            line = process.stdout.readline()
            assert line.startswith("serving on http://127.0.0.1:"), line
            yield line.split()[-1]
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0, "a drained server ends with 0"


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving("--backend", "hash", data=tmp_path_factory.mktemp("data")) as address:
        yield address


@pytest.fixture
def client(address: str) -> Iterator[OpenAI]:
    with OpenAI(base_url=address, api_key="none", max_retries=0) as client:
        yield client


def test_the_smoke_walk_passes(address: str) -> None:
    assert [step for step in Walk(address).steps() if not step.passed] == []


def test_whole_and_streamed_answers_agree(client: OpenAI) -> None:
    options = {"model": "hash", "messages": CAPITAL, "max_tokens": 16, "temperature": 1.0, "seed": 7, "logprobs": True}
    whole = client.chat.completions.create(**options, top_logprobs=3)
    chunks = list(client.chat.completions.create(**options, stream=True, stream_options={"include_usage": True}))
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == whole.choices[0].message.content
    assert chunks[-1].usage.completion_tokens == whole.usage.completion_tokens == len(whole.choices[0].logprobs.content)


def test_structure_holds_whatever_the_model(client: OpenAI) -> None:
    parsed = client.chat.completions.parse(model="hash", messages=CAPITAL, response_format=Person, max_tokens=60)
    assert isinstance(parsed.choices[0].message.parsed, Person)
    call = {"model": "hash", "messages": CAPITAL, "tools": [TOOL], "tool_choice": "required", "max_tokens": 150}
    (whole,) = client.chat.completions.create(**call).choices[0].message.tool_calls
    assert set(json.loads(whole.function.arguments)) == {"city", "unit"}
    chunks = [chunk.choices[0].delta for chunk in client.chat.completions.create(**call, stream=True) if chunk.choices]
    deltas = [delta.tool_calls[0] for delta in chunks if delta.tool_calls]
    assert deltas[0].function.name == "get_weather"
    assert "".join(delta.function.arguments for delta in deltas) == whole.function.arguments


def test_limits_too_small_for_any_answer_say_the_number(client: OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match=r"shortest valid answer has \d+ tokens"):
        client.chat.completions.parse(model="hash", messages=CAPITAL, response_format=Person, max_tokens=3)


def test_responses_and_embeddings(client: OpenAI) -> None:
    kinds = [e.type for e in client.responses.create(model="hash", input="hello", max_output_tokens=8, stream=True)]
    assert kinds[0] == "response.created"
    assert kinds[-1] in {"response.completed", "response.incomplete"}
    vectors = client.embeddings.create(model="hash", input=["a cat", "tax law"]).data
    assert [vector.index for vector in vectors] == [0, 1]
    assert sum(x * x for x in vectors[0].embedding) == pytest.approx(1, rel=1e-4)


def test_a_token_from_the_environment_is_asked_for(tmp_path: Path) -> None:
    with serving("--backend", "fake", "--no-episodes", data=tmp_path, KLIMEAI_API_TOKEN="devtoken") as address:
        refused = pytest.raises(openai.AuthenticationError)
        with OpenAI(base_url=address, api_key="wrong", max_retries=0) as stranger, refused:
            stranger.models.list()
        with OpenAI(base_url=address, api_key="devtoken", max_retries=0) as friend:
            assert friend.models.list().data[0].id == "vortex-fake"
    assert not list(tmp_path.iterdir())


@pytest.mark.long
def test_the_default_model_knows_paris(tmp_path: Path) -> None:
    with serving(data=tmp_path) as address, OpenAI(base_url=address, api_key="none", timeout=600) as client:
        model = client.models.list().data[0].id
        answer = client.chat.completions.create(model=model, messages=CAPITAL, max_tokens=16, temperature=0)
        assert "paris" in answer.choices[0].message.content.lower()
        parsed = client.chat.completions.parse(model=model, messages=CAPITAL, response_format=Person, max_tokens=40)
        assert parsed.choices[0].message.parsed
