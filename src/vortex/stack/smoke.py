"""The smoke test of a running stack: engine reachable, OpenAI's API through the gateway, streaming, errors.

Every check sends real requests with small answers. Does not do: judge what the model says.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from vortex.backends.http_get import Answer, request
from vortex.config.addresses import Addresses
from vortex.errors import VortexError

MAX_TOKENS = 16
ANSWER_S = 180.0


@dataclass(frozen=True, slots=True)
class Check:
    name: str
    passed: bool
    detail: str


class Smoke:
    def __init__(self, addresses: Addresses) -> None:
        self._engine_url = addresses.engine_urls[0]
        self._engine_key = addresses.engine_api_key
        self._url = addresses.gateway_url
        self._key = addresses.api_key
        self._model = ""

    def run(self) -> Iterator[Check]:
        """Each check as it ends; one that fails does not keep the others from running."""
        checks: tuple[tuple[str, Callable[[], str]], ...] = (
            ("engine reachable", self._engine),
            ("gateway healthy", self._health),
            ("gateway lists models", self._models),
            ("chat completion", self._chat),
            ("streaming", self._stream),
            ("errors are errors", self._errors),
        )
        for name, check in checks:
            started = time.monotonic()
            try:
                detail = check()
            except (VortexError, AssertionError, KeyError, IndexError, TypeError, ValueError) as error:
                yield Check(name, passed=False, detail=str(error) or type(error).__name__)
            else:
                yield Check(name, passed=True, detail=f"{detail} ({time.monotonic() - started:.2f} s)")

    def _engine(self) -> str:
        answer = request(f"{self._engine_url}/v1/models", key=self._engine_key)
        _expect(answer.status == 200, f"{self._engine_url}/v1/models answered {answer.status}")
        return self._engine_url

    def _health(self) -> str:
        answer = request(f"{self._url}/healthz")
        _expect(answer.status == 200, f"{self._url}/healthz answered {answer.status}: {answer.body[:200]!r}")
        return str(answer.json()["mode"])

    def _models(self) -> str:
        answer = self._ask("/v1/models")
        _expect(answer.status == 200, f"/v1/models answered {answer.status}")
        self._model = str(answer.json()["data"][0]["id"])
        return self._model

    def _chat(self) -> str:
        answer = self._ask("/v1/chat/completions", self._body(stream=False))
        _expect(answer.status == 200, f"answered {answer.status}: {answer.body[:200]!r}")
        choice = answer.json()["choices"][0]
        _expect(isinstance(choice["message"]["content"], str), "no content")
        return f"{len(choice['message']['content'])} characters, finish_reason {choice['finish_reason']}"

    def _stream(self) -> str:
        answer = self._ask("/v1/chat/completions", self._body(stream=True))
        _expect(answer.status == 200, f"answered {answer.status}: {answer.body[:200]!r}")
        _expect(answer.content_type.startswith("text/event-stream"), f"content type {answer.content_type}")
        events = [line[6:] for line in answer.body.split(b"\n") if line.startswith(b"data: ")]
        _expect(bool(events) and events[-1] == b"[DONE]", "the stream does not end with [DONE]")
        chunks = [json.loads(event) for event in events[:-1]]
        _expect(all("error" not in chunk for chunk in chunks), f"the stream holds an error: {chunks[-1]}")
        return f"{len(chunks)} chunks and [DONE]"

    def _errors(self) -> str:
        broken = self._ask("/v1/chat/completions", b"{not json")
        _expect(broken.status == 400, f"broken JSON answered {broken.status}")
        _expect(bool(broken.json()["error"]["message"]), "an error without a message")
        nothing = self._ask("/nothing-here")
        _expect(nothing.status == 404, f"an unknown path answered {nothing.status}")
        return "400 and 404, in OpenAI's shape"

    def _body(self, *, stream: bool) -> dict[str, Any]:
        messages = [{"role": "user", "content": "Say hello."}]
        return {"model": self._model, "messages": messages, "max_tokens": MAX_TOKENS, "stream": stream}

    def _ask(self, path: str, body: Any = None) -> Answer:
        return request(self._url + path, body=body, key=self._key, timeout_s=ANSWER_S)


def _expect(condition: bool, otherwise: str) -> None:
    if not condition:
        raise ValueError(otherwise)
