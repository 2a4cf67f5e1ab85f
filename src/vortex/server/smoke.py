"""A quick walk through a running server, from outside: does what a client needs answer, and in OpenAI's shapes?

Uses the standard library alone, so it runs against any OpenAI-compatible server from anywhere. `scripts/smoke_api.py`
is its command line.
"""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

TIMEOUT_S = 120
HELLO = [{"role": "user", "content": "Say hello."}]


@dataclass(frozen=True, slots=True)
class Step:
    name: str
    passed: bool
    detail: str


class Walk:
    """`base_url` with or without `/v1`."""

    def __init__(self, base_url: str, api_key: str | None = None) -> None:
        self._root = base_url.rstrip("/").removesuffix("/v1")
        self._headers = {"Content-Type": "application/json"}
        if api_key:
            self._headers["Authorization"] = f"Bearer {api_key}"

    def steps(self) -> Iterator[Step]:
        """One after the other, as they are done."""
        for step in (self.alive, self.lists_a_model, self.answers, self.streams, self.refuses, self.counts):
            try:
                yield Step(step.__name__, True, step())
            except (OSError, ValueError, KeyError, IndexError, AssertionError) as error:
                yield Step(step.__name__, False, f"{type(error).__name__}: {error}")

    def alive(self) -> str:
        return f"/healthz {self._get('/healthz')['status']}, /readyz {self._get('/readyz')['status']}"

    def lists_a_model(self) -> str:
        return str(self._get("/v1/models")["data"][0]["id"])

    def answers(self) -> str:
        answer = self._get("/v1/chat/completions", {"messages": HELLO, "max_tokens": 8})
        usage = answer["usage"]
        assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"], f"usage {usage}"
        return repr(answer["choices"][0]["message"]["content"])

    def streams(self) -> str:
        with self._open("/v1/chat/completions", {"messages": HELLO, "max_tokens": 8, "stream": True}) as response:
            lines = [line.decode().strip() for line in response]
        frames = [line.removeprefix("data: ") for line in lines if line.startswith("data: ")]
        assert frames[-1] == "[DONE]", f"the stream ends with {frames[-1]!r}"
        chunks = [json.loads(frame) for frame in frames[:-1]]
        return repr("".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks))

    def refuses(self) -> str:
        status, error = 200, {}
        try:
            self._get("/v1/chat/completions", {"messages": []})
        except urllib.error.HTTPError as refusal:
            status, error = refusal.code, json.loads(refusal.read())["error"]
        assert status == 400, f"a request without messages got {status}"
        assert set(error) == {"message", "type", "param", "code"}, f"the error is {error}"
        return str(error["message"])

    def counts(self) -> str:
        with self._open("/metrics") as response:
            text = response.read().decode()
        assert "# TYPE" in text, "not Prometheus' text format"
        return f"{len(text.splitlines())} lines of metrics"

    def _get(self, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        with self._open(path, body) as response:
            answer: dict[str, Any] = json.load(response)
            return answer

    def _open(self, path: str, body: dict[str, Any] | None = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._root + path, data, self._headers)  # noqa: S310  # the user's own address
        return urllib.request.urlopen(request, timeout=TIMEOUT_S)  # noqa: S310
